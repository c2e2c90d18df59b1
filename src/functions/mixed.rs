//! Functions of choices, whole numbers and conditions, as tuning meets them: a space of its own each, the best values
//! drawn with the instance.
//!
//! Everything is measured on the unit scale of a parameter's codec, from the place of the best value, so that a candidate
//! with the best values has exactly the least value, 0. The functions are this project's; (mixed-integer) Rastrigin is
//! after Tušar, Brockhoff & Hansen 2019, "Mixed-integer benchmark problems", whose arities it takes.

use super::{Evaluate, Function};
use crate::base::random::{Key, uniform_f64};
use crate::base::registry::Named;
use crate::space::{Codec, Space, SpaceBuilder};
use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// A function whose space is not a box of real numbers.
pub(super) struct Mixed {
    name: &'static str,
    summary: &'static str,
    dimensions: RangeInclusive<usize>,
    default_dimensions: usize,
    space: fn(usize) -> Space,
    /// The value of a candidate; a parameter that does not exist is NaN, and nothing else is.
    value: fn(&Drawn, &[f64]) -> f64,
}

/// What belongs to an instance.
struct Drawn {
    key: Key,
    space: Space,
    codecs: Vec<Codec>,
    /// The best value of every parameter, those included that do not exist there.
    best: Vec<f64>,
    /// Their places.
    places: Vec<f64>,
}

impl Drawn {
    fn new(space: Space, instance: u32) -> Drawn {
        let key = Key::from_seed(u64::from(instance));
        let codecs = space.codecs();
        let draw = |(column, codec): (u64, &Codec)| {
            let u = uniform_f64(key.words(column));
            // Off the ends, where strategies look first.
            codec.decode(if codec.count().is_none() { 0.1 + 0.8 * u } else { u })
        };
        let best: Vec<f64> = (0..).zip(&codecs).map(draw).collect();
        let places = codecs.iter().zip(&best).map(|(codec, best)| codec.encode(*best)).collect();
        Drawn { key: key.child(0), space, codecs, best, places }
    }

    /// How far above the best place of a parameter a candidate is, between -1 and 1.
    fn off(&self, row: &[f64], column: usize) -> f64 {
        self.codecs[column].encode(row[column]) - self.places[column]
    }

    /// By how many choices, around the circle of `count`, a candidate is past the best one.
    fn past(&self, row: &[f64], column: usize, count: u32) -> usize {
        (row[column] - self.best[column]).rem_euclid(f64::from(count)) as usize
    }

    /// A uniform number that belongs to the instance.
    fn uniform(&self, tag: u32, number: u64) -> f64 {
        uniform_f64(self.key.child(tag).words(number))
    }
}

/// Something that computes one value of a candidate, whose missing parameters are no failure.
struct Conditional {
    drawn: Drawn,
    value: fn(&Drawn, &[f64]) -> f64,
}

impl Evaluate for Conditional {
    fn evaluate(&self, x: &[f64], values: &mut [f64]) {
        let mut row = vec![f64::NAN; x.len()];
        for (column, parameter) in self.drawn.space.parameters.iter().enumerate() {
            if parameter.conditions.iter().all(|condition| condition.values.contains(&row[condition.parent])) {
                row[column] = x[column];
                if x[column].is_nan() {
                    return values.fill(f64::NAN);
                }
            }
        }
        values.fill((self.value)(&self.drawn, &row));
    }
}

/// Four algorithms, each with parameters of its own: `loss[algorithm] + steepness[algorithm] bowl`, where a bowl is the sum
/// of squared distances, plus one of a product that has to be right (rate and rounds, rate and width, cost and width).
/// The better an algorithm is at its best, the worse it is elsewhere: who judges by random candidates chooses wrongly.
pub(super) static MODEL_CHOICE: Mixed = Mixed {
    name: "model_choice",
    summary: "four algorithms with parameters of their own, the best of them the hardest to tune",
    dimensions: 15..=15,
    default_dimensions: 15,
    space: |_| {
        SpaceBuilder::new()
            .categorical("algorithm", &["forest", "boosting", "network", "kernel"], "forest")
            .log_int("forest_trees", 10, 1000, 100)
            .int("forest_depth", 1, 32, 8)
            .float("forest_features", 0.1, 1.0, 0.5)
            .log("boosting_rate", 1e-3, 1.0, 0.1)
            .log_int("boosting_rounds", 10, 2000, 100)
            .int("boosting_depth", 1, 12, 3)
            .float("boosting_subsample", 0.3, 1.0, 1.0)
            .log("network_rate", 1e-5, 1.0, 1e-3)
            .log_int("network_width", 8, 1024, 64)
            .int("network_layers", 1, 6, 2)
            .float("network_dropout", 0.0, 0.8, 0.0)
            .categorical("network_activation", &["relu", "tanh", "gelu"], "relu")
            .log("kernel_cost", 1e-3, 1e3, 1.0)
            .log("kernel_width", 1e-5, 10.0, 0.1)
            .whens(&["forest_trees", "forest_depth", "forest_features"], "algorithm", "forest")
            .whens(
                &["boosting_rate", "boosting_rounds", "boosting_depth", "boosting_subsample"],
                "algorithm",
                "boosting",
            )
            .whens(
                &["network_rate", "network_width", "network_layers", "network_dropout", "network_activation"],
                "algorithm",
                "network",
            )
            .whens(&["kernel_cost", "kernel_width"], "algorithm", "kernel")
            .build()
    },
    value: |drawn, row| {
        let rank = drawn.past(row, 0, 4).min(3);
        let columns = [1..4, 4..8, 8..13, 13..15][(row[0] as usize).min(3)].clone();
        let pair = drawn.off(row, columns.start) + drawn.off(row, columns.start + 1);
        let square = |column: usize| match column {
            12 => 0.05 * drawn.past(row, column, 3) as f64,
            _ => drawn.off(row, column) * drawn.off(row, column),
        };
        let bowl = 3.0 * pair * pair + columns.map(square).sum::<f64>();
        [0.0, 0.02, 0.05, 0.15][rank] + [4.0, 2.0, 1.0, 0.5][rank] * bowl
    },
};

/// `sum z_i^2 + 2 (1 - cos(2 pi z_i)) + (z_i - z_(i+1))^2 / 2` over the numbers, neighbours in their order, where z is a
/// number's distance from its best on a range of length 8; plus, for each choice, the rank of its value. Of five parameters
/// two are real, two whole with 4 and 16 values, and one is a choice of five.
pub(super) static MIXED_RASTRIGIN: Mixed = Mixed {
    name: "mixed_rastrigin",
    summary: "Rastrigin with whole numbers and choices: many local optima, neighbours coupled",
    dimensions: 5..=1000,
    default_dimensions: 10,
    space: |dimensions| {
        let add = |space: SpaceBuilder, index: usize| {
            let name = format!("x{index}");
            match index % 5 {
                1 => space.int(&name, 0, 3, 1),
                2 => space.categorical(&name, &["a", "b", "c", "d", "e"], "a"),
                3 => space.int(&name, 0, 15, 4),
                _ => space.float(&name, -4.0, 4.0, -2.0),
            }
        };
        (0..dimensions).fold(SpaceBuilder::new(), add).build()
    },
    value: |drawn, row| {
        let (mut sum, mut before) = (0.0, None);
        for column in 0..row.len() {
            if column % 5 == 2 {
                sum += drawn.past(row, column, 5) as f64;
                continue;
            }
            let z = 8.0 * drawn.off(row, column);
            sum += z * z + 2.0 * (1.0 - libm::cos(2.0 * PI * z));
            sum += before.map_or(0.0, |before: f64| 0.5 * (z - before) * (z - before));
            before = Some(z);
        }
        sum
    },
};

/// A cost for every pair of choices at `(i, i + 1)` and `(i, i + 3)` around a circle: 0 for the two best together, 1/2 to 1
/// for one of them with another, 1/10 to 1 for two others. As in NK landscapes (Kauffman & Weinberger 1989) no choice is
/// good by itself; the best are planted, so that they are known.
pub(super) static CHOICE_PAIRS: Mixed = Mixed {
    name: "choice_pairs",
    summary: "nothing but choices, each good or bad only together with others",
    dimensions: 5..=1000,
    default_dimensions: 12,
    space: |dimensions| {
        let add = |space: SpaceBuilder, index| space.categorical(&format!("c{index}"), &["p", "q", "r", "s"], "p");
        (0..dimensions).fold(SpaceBuilder::new(), add).build()
    },
    value: |drawn, row| {
        let cost = |(first, second): (usize, usize)| {
            let (a, b) = (row[first], row[second]);
            let least = match (a == drawn.best[first], b == drawn.best[second]) {
                (true, true) => return 0.0,
                (false, false) => 0.1,
                _ => 0.5,
            };
            let tag = (first * row.len() + second) as u32;
            least + (1.0 - least) * drawn.uniform(tag, (4.0 * a + b) as u64)
        };
        let n = row.len();
        let pairs = (0..n).flat_map(|i| [(i, (i + 1) % n), (i, (i + 3) % n)]);
        pairs.map(cost).sum::<f64>() / n as f64
    },
};

/// `1 - exp(-q)`, flat far from the best and exactly 1 where training diverges: where rate times momentum's gain is 30
/// times too large. q adds up how far this effective rate (which depth lowers, and batches raise), the product of rate
/// and decay, capacity (depth and width together) and each parameter alone are off.
pub(super) static TRAINING: Mixed = Mixed {
    name: "training",
    summary: "a network's rate, decay, momentum, size and schedule: interactions, plateaus, divergence",
    dimensions: 9..=9,
    default_dimensions: 9,
    space: |_| {
        SpaceBuilder::new()
            .log("rate", 1e-5, 1.0, 1e-3)
            .log("decay", 1e-7, 1e-1, 1e-4)
            .logit("momentum", 0.5, 0.999, 0.9)
            .int("depth", 1, 12, 2)
            .log_int("width", 8, 2048, 64)
            .ordinal("batch", &[16, 32, 64, 128, 256, 512, 1024], 32)
            .boolean("normalize", false)
            .categorical("schedule", &["constant", "cosine", "step"], "constant")
            .float("warmup", 0.0, 0.3, 0.0)
            .when("warmup", "schedule", &["cosine", "step"])
            .build()
    },
    value: |drawn, row| {
        let off = |column| drawn.off(row, column);
        let (rate, decay, momentum, depth, width, batch) = (off(0), off(1), off(2), off(3), off(4), off(5));
        // On the rate's scale of five decades; 0.3 of it is a factor of 30.
        let effective = rate + 0.6 * momentum + 0.3 * depth - 0.2 * batch;
        if effective > 0.3 {
            return 1.0;
        }
        let flags = f64::from(u8::from(row[6] != drawn.best[6])) * (0.1 + depth.abs());
        // A schedule with a warmup is worse the more it is off; without one it costs what half the range does.
        let warmup = match (row[8].is_nan(), drawn.best[7] == 0.0) {
            (false, false) => off(8),
            (true, true) => 0.0,
            _ => 0.5,
        };
        let schedule = 0.05 * drawn.past(row, 7, 3) as f64 + 0.4 * warmup * warmup;
        let pairs = 30.0 * effective * effective
            + 4.0 * (rate + decay) * (rate + decay)
            + 3.0 * (depth + width) * (depth + width);
        let alone: f64 = [rate, decay, momentum, depth, width, batch].iter().map(|off| off * off).sum();
        -libm::expm1(-(pairs + alone + flags + schedule))
    },
};

/// A tree of choices three deep, two ways at each; every leaf has two numbers of its own, and one number exists
/// everywhere, whose best place is another at every leaf. A wrong way costs less the deeper it is; a leaf is the steeper
/// the fewer wrong ways lead to it.
pub(super) static DEEP_CHOICES: Mixed = Mixed {
    name: "deep_choices",
    summary: "choices that open further choices, three deep, with numbers at the leaves",
    dimensions: 24..=24,
    default_dimensions: 24,
    space: |_| {
        let ways = ["left", "right"];
        let mut space = SpaceBuilder::new().float("common", 0.0, 1.0, 0.25).categorical("way1", &ways, "left");
        for node in 2..8 {
            let name = format!("way{node}");
            space = space.categorical(&name, &ways, "left").when(&name, &format!("way{}", node / 2), &[ways[node % 2]]);
        }
        for leaf in 8..16 {
            for (name, low, high) in [(format!("share{leaf}"), 0.0, 1.0), (format!("rate{leaf}"), 1e-4, 1.0)] {
                let middle = 0.25 * high;
                space =
                    if low > 0.0 { space.log(&name, low, high, middle) } else { space.float(&name, low, high, middle) };
                space = space.when(&name, &format!("way{}", leaf / 2), &[ways[leaf % 2]]);
            }
        }
        space.build()
    },
    value: |drawn, row| {
        // Heap order: node k has children 2 k and 2 k + 1, and is column k.
        let (mut node, mut cost) = (1, 0.0);
        let mut steepness = 4.0;
        for depth_cost in [0.2, 0.1, 0.05] {
            let is_right = row[node] == 1.0;
            if row[node] != drawn.best[node] {
                cost += depth_cost;
                steepness *= 0.6;
            }
            node = 2 * node + usize::from(is_right);
        }
        let leaf = 8 + 2 * (node - 8);
        let (share, rate) = (drawn.off(row, leaf), drawn.off(row, leaf + 1));
        // The leaf without a wrong way is the one whose best common place is known.
        let common = if cost == 0.0 { drawn.best[0] } else { drawn.uniform(0, node as u64) };
        let common = row[0] - common;
        cost + steepness * (share * share + rate * rate + (share + rate) * (share + rate) + common * common)
    },
};

impl SpaceBuilder {
    /// Children of one choice.
    fn whens(self, children: &[&str], parent: &str, choice: &str) -> SpaceBuilder {
        children.iter().fold(self, |space, child| space.when(child, parent, &[choice]))
    }
}

impl Named for Mixed {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
}

impl Function for Mixed {
    fn dimensions(&self) -> RangeInclusive<usize> {
        self.dimensions.clone()
    }
    fn default_dimensions(&self) -> usize {
        self.default_dimensions
    }
    fn is_box(&self) -> bool {
        false
    }
    fn bounds(&self, _: usize) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
    fn has_instances(&self) -> bool {
        true
    }
    fn optimum(&self, _: usize, _: u32) -> Option<f64> {
        Some(0.0)
    }
    fn minimizer(&self, dimensions: usize, instance: u32) -> Option<Vec<f64>> {
        let drawn = Drawn::new((self.space)(dimensions), instance);
        let mut best = drawn.best;
        drawn.space.mask(&mut best);
        Some(best)
    }
    fn open(&self, dimensions: usize, instance: u32) -> Box<dyn Evaluate> {
        Box::new(Conditional { drawn: Drawn::new((self.space)(dimensions), instance), value: self.value })
    }
    fn space(&self, dimensions: usize) -> Space {
        (self.space)(dimensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::FUNCTIONS;

    const ALL: [&Mixed; 5] = [&MODEL_CHOICE, &MIXED_RASTRIGIN, &CHOICE_PAIRS, &TRAINING, &DEEP_CHOICES];

    fn value(opened: &dyn Evaluate, row: &[f64]) -> f64 {
        let mut value = [-1.0];
        opened.evaluate(row, &mut value);
        value[0]
    }

    #[test]
    fn any_other_value_of_a_parameter_is_worse_than_the_best() {
        for function in ALL {
            let space = function.space(function.default_dimensions);
            for instance in 1..20 {
                let opened = function.open(function.default_dimensions, instance);
                let best = function.minimizer(function.default_dimensions, instance).unwrap();
                assert_eq!(value(&*opened, &best), 0.0, "{}", function.name);
                for (column, codec) in space.codecs().iter().enumerate().filter(|(column, _)| !best[*column].is_nan()) {
                    let count = codec.count().unwrap_or(7);
                    for other in (0..count).map(|index| codec.nth(index, count)).filter(|other| *other != best[column])
                    {
                        // Children that come into being have their best values too, as far as they have one.
                        let mut row = Drawn::new(space.clone(), instance).best;
                        row[column] = other;
                        space.mask(&mut row);
                        assert!(value(&*opened, &row) > 0.0, "{}: {row:?}", function.name);
                    }
                }
            }
        }
    }

    #[test]
    fn instances_have_their_best_choices_all_over() {
        for function in ALL {
            let space = function.space(function.default_dimensions);
            let bests = (0..200).filter_map(|instance| function.minimizer(function.default_dimensions, instance));
            let bests: Vec<Vec<f64>> = bests.collect();
            for (column, codec) in space.codecs().iter().enumerate() {
                let places: Vec<f64> =
                    bests.iter().map(|best| codec.encode(best[column])).filter(|x| !x.is_nan()).collect();
                let low = places.iter().filter(|place| **place < 0.5).count() as f64 / places.len() as f64;
                // 200 at a half scatter by 0.04, a leaf's 25 by 0.1; of five choices the middle one is neither.
                assert!((0.2..0.8).contains(&low), "{}, {}: {low}", function.name, space.parameters[column].name);
            }
        }
    }

    #[test]
    fn numbers_of_parameters_that_do_not_exist_do_not_count_and_others_must_be_there() {
        for function in ALL {
            let space = function.space(function.default_dimensions);
            let opened = function.open(function.default_dimensions, 3);
            let whole: Vec<f64> = space.parameters.iter().map(|parameter| parameter.default).collect();
            assert_eq!(value(&*opened, &whole), value(&*opened, &space.defaults()), "{}", function.name);
            assert!(!value(&*opened, &whole).is_nan(), "{}", function.name);
            let exists: Vec<usize> = (0..whole.len()).filter(|column| !space.defaults()[*column].is_nan()).collect();
            for column in exists {
                let mut row = space.defaults();
                row[column] = f64::NAN;
                assert!(value(&*opened, &row).is_nan(), "{}, {column}", function.name);
            }
        }
    }

    #[test]
    fn every_mixed_function_is_in_the_registry() {
        for function in ALL {
            assert!(FUNCTIONS.iter().any(|other| other.name() == function.name));
        }
    }
}
