//! The Parzen estimator of the tree-structured search: a mixture of product kernels over some axes of the cube, one for
//! each observation and one, the prior, for the whole range (Watanabe 2023, arXiv:2304.11127, equation 5).
//!
//! Kernels lie axis by axis, so that a point is scored against all of them in SIMD, and can be added one at a time.

use crate::base::order;
use crate::base::random::{Key, inverse_normal_cdf, uniform_f64};
use crate::space::{Codec, Scale};
use crate::strategies::cube::{self, Axis};

/// sqrt(2 pi)
const ROOT_TWO_PI: f64 = 2.506_628_274_631_000_5;
/// sqrt(1 / 2): its square is the half of a normal density's exponent.
const HALF_ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// How wide kernels are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Width {
    /// All alike along an axis: Scott's rule, the standard deviation times n^(-1 / (d + 4)). They shrink as the observations
    /// gather, and reach over the gaps between a few of many dimensions.
    Spread,
    /// The larger gap to a neighbour along the axis (Bergstra et al. 2011).
    Gap,
}

/// Values whose interval is wider than this take part with its whole mass; in a narrower one a kernel's density is level
/// enough that the one at the middle stands for it.
const WIDE: f64 = 1.0 / 128.0;

/// How one axis is modelled.
#[derive(Debug, Clone)]
pub(super) enum Dimension {
    /// A number: truncated normal kernels.
    Number {
        /// From place to value.
        codec: Codec,
        /// Ends of the intervals of the first values, as far as they are wide; empty on a continuum.
        edges: Vec<f64>,
        /// Least bandwidth that tells neighbours apart.
        finest: f64,
    },
    /// So many choices without an order.
    Choices(usize),
}

impl Dimension {
    pub(super) fn new(axis: Axis, codec: Codec) -> Dimension {
        match axis {
            Axis::Continuous => Dimension::Number { codec, edges: Vec::new(), finest: 0.0 },
            Axis::Choices(count) => Dimension::Choices(count as usize),
            Axis::Ordered(count) => {
                // Widths only shrink along a logarithmic scale, and are all alike along a linear one.
                let mut edges = vec![0.0];
                for index in 0..count {
                    let (low, high) = interval(&codec, index, count);
                    if high - low <= WIDE {
                        break;
                    }
                    edges.push(high);
                }
                let (low, high) = interval(&codec, count - 1, count);
                Dimension::Number { codec, edges, finest: (high - low) / 2.0 }
            }
        }
    }

    /// The place that stands for all places of the same value.
    fn canonical(&self, place: f64) -> f64 {
        match self {
            Dimension::Number { codec, .. } if codec.count().is_some() => codec.encode(codec.decode(place)),
            _ => place,
        }
    }

    /// The number of a place's value among those with a wide interval.
    fn wide(&self, place: f64) -> Option<usize> {
        match self {
            Dimension::Number { edges, .. } if edges.len() > 1 => {
                let above = edges.partition_point(|edge| *edge <= place);
                (above < edges.len()).then(|| above.saturating_sub(1))
            }
            _ => None,
        }
    }
}

/// The interval of the cube that an ordered value owns.
fn interval(codec: &Codec, index: u64, count: u64) -> (f64, f64) {
    let edge = |index: f64| match *codec {
        Codec::Stepped { scale, from, length, low, step, .. } => {
            let value = low + (index - 0.5) * step;
            let place = if scale == Scale::Log { libm::log(value) } else { value };
            (place - from) / length
        }
        _ => index / count as f64,
    };
    (edge(index as f64), edge(index as f64 + 1.0))
}

/// What is observed: a place on each axis of the estimator, and its weight.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) places: Vec<f64>,
    pub(super) weight: f64,
}

/// A mixture of product kernels.
#[derive(Debug, Clone)]
pub(super) struct Parzen {
    /// Logarithm of each kernel's weight, less those of its normalising constants.
    constants: Vec<f64>,
    width: Width,
    weights: Vec<f64>,
    columns: Vec<Kernels>,
    dimensions: Vec<Dimension>,
}

/// The kernels' factors along one axis, the prior's first.
#[derive(Debug, Clone)]
enum Kernels {
    Number {
        centers: Vec<f64>,
        /// 1 / bandwidth
        sharpness: Vec<f64>,
        /// Both, and their product, in single precision: twice as many fit a register, and 1e-5 of a ratio is nothing.
        sharp: Vec<f32>,
        shifted: Vec<f32>,
        /// Logarithm of the mass in each wide interval, by value and kernel; without the normalising constant.
        masses: Vec<Vec<f32>>,
        /// Least bandwidth of a kernel that is added.
        floor: f64,
    },
    Choices {
        picks: Vec<usize>,
        /// Logarithms of the probability of the choice that was observed, and of each other one.
        hit: f32,
        miss: f32,
    },
}

impl Parzen {
    /// Of observations on some axes.
    pub(super) fn new(dimensions: &[Dimension], observations: &[Observation], floor: f64, width: Width) -> Parzen {
        let mut parzen = Parzen {
            width,
            constants: Vec::with_capacity(observations.len() + 1),
            weights: Vec::with_capacity(observations.len() + 1),
            columns: Vec::with_capacity(dimensions.len()),
            dimensions: dimensions.to_vec(),
        };
        parzen.weights.push(1.0);
        parzen.weights.extend(observations.iter().map(|observation| observation.weight));
        parzen.constants = parzen.weights.iter().map(|weight| libm::log(*weight)).collect();
        for axis in 0..parzen.dimensions.len() {
            let places: Vec<f64> = observations.iter().map(|observation| observation.places[axis]).collect();
            let column = match &parzen.dimensions[axis] {
                Dimension::Choices(count) => {
                    // Optuna's smoothing: every choice once among all kernels, the observed one once more in each.
                    let share = 1.0 / (places.len() + 1) as f64;
                    let sum = 1.0 + *count as f64 * share;
                    let picks = places.iter().map(|place| cube::choice(*place, *count as u64) as usize).collect();
                    Kernels::Choices {
                        picks,
                        hit: libm::log((1.0 + share) / sum) as f32,
                        miss: libm::log(share / sum) as f32,
                    }
                }
                Dimension::Number { finest, .. } => {
                    let floor = floor.max(*finest);
                    Kernels::Number {
                        centers: Vec::with_capacity(places.len() + 1),
                        sharpness: Vec::with_capacity(places.len() + 1),
                        sharp: Vec::with_capacity(places.len() + 1),
                        shifted: Vec::with_capacity(places.len() + 1),
                        masses: Vec::new(),
                        floor,
                    }
                }
            };
            parzen.columns.push(column);
            if let Kernels::Number { floor, .. } = parzen.columns[axis] {
                let widths = match width {
                    Width::Spread => vec![spread(&places, floor, dimensions.len()); places.len()],
                    Width::Gap => gaps(&places, floor),
                };
                parzen.put(axis, 0, 0.5, 1.0);
                for (kernel, (place, width)) in places.iter().zip(&widths).enumerate() {
                    parzen.put(axis, kernel + 1, *place, *width);
                }
            }
        }
        parzen
    }

    /// Number of kernels.
    pub(super) fn len(&self) -> usize {
        self.constants.len()
    }

    /// Puts a normal kernel's factor along an axis behind those that are there.
    fn put(&mut self, axis: usize, kernel: usize, center: f64, width: f64) {
        let Dimension::Number { edges, .. } = &self.dimensions[axis] else { return };
        let Kernels::Number { centers, sharpness, sharp: sharps, shifted, masses, .. } = &mut self.columns[axis] else {
            return;
        };
        let sharp = 1.0 / width;
        let whole = 1.0 - tail(center * sharp) - tail((1.0 - center) * sharp);
        self.constants[kernel] += libm::log(sharp / (ROOT_TWO_PI * whole));
        centers.push(center);
        sharpness.push(sharp);
        sharps.push((sharp * HALF_ROOT) as f32);
        shifted.push((center * sharp * HALF_ROOT) as f32);
        masses.resize(edges.len().saturating_sub(1), Vec::new());
        for (masses, edges) in masses.iter_mut().zip(edges.windows(2)) {
            let mass = mass((edges[0] - center) * sharp, (edges[1] - center) * sharp);
            let density = mass * width * ROOT_TWO_PI / (edges[1] - edges[0]);
            masses.push(libm::log(density.max(f64::MIN_POSITIVE)) as f32);
        }
    }

    /// Adds a kernel; the bandwidths of the others stay.
    pub(super) fn push(&mut self, places: &[f64], weight: f64) {
        let kernel = self.len();
        self.weights.push(weight);
        self.constants.push(libm::log(weight));
        let dimensions = self.dimensions.len();
        for (axis, place) in places.iter().enumerate() {
            let width = match &mut self.columns[axis] {
                Kernels::Choices { picks, .. } => {
                    let Dimension::Choices(count) = self.dimensions[axis] else { continue };
                    picks.push(cube::choice(*place, count as u64) as usize);
                    continue;
                }
                Kernels::Number { centers, floor, .. } => match self.width {
                    Width::Spread => spread(&centers[1..], *floor, dimensions),
                    Width::Gap => gap_among(&centers[1..], *place, *floor),
                },
            };
            self.put(axis, kernel, *place, width);
        }
    }

    /// Draws a point from the mixture.
    pub(super) fn draw(&self, key: Key) -> Vec<f64> {
        let uniform = |counter: u64| uniform_f64(key.words(counter));
        let mut rest = uniform(0) * self.weights.iter().sum::<f64>();
        let within = |weight: &f64| {
            rest -= weight;
            rest < 0.0
        };
        let kernel = self.weights.iter().position(within).unwrap_or(0);
        let along = |(axis, column): (usize, &Kernels)| {
            let dimension = &self.dimensions[axis];
            let chance = uniform(axis as u64 + 1);
            match (column, dimension) {
                (Kernels::Number { centers, sharpness, .. }, _) => {
                    let (center, sharp) = (centers[kernel], sharpness[kernel]);
                    let (below, above) = (tail(center * sharp), tail((1.0 - center) * sharp));
                    // The quantile is symmetric; away from 0 and 1 it is finite.
                    let share = (below + chance * (1.0 - below - above)).clamp(1e-300, 1.0 - 1e-16);
                    dimension.canonical((center + inverse_normal_cdf(share) / sharp).clamp(0.0, 1.0))
                }
                (Kernels::Choices { picks, hit, miss }, Dimension::Choices(count)) => {
                    let pick = if kernel == 0 {
                        cube::choice(chance, *count as u64) as usize
                    } else {
                        let observed = picks[kernel - 1];
                        let (hit, miss) = (libm::exp(f64::from(*hit)), libm::exp(f64::from(*miss)));
                        if chance < hit {
                            observed
                        } else {
                            let other = (((chance - hit) / miss) as usize).min(count - 2);
                            other + usize::from(other >= observed)
                        }
                    };
                    (pick as f64 + 0.5) / *count as f64
                }
                (Kernels::Choices { .. }, Dimension::Number { .. }) => 0.5,
            }
        };
        self.columns.iter().enumerate().map(along).collect()
    }

    /// The logarithm of the mixture's density at a point, but for a constant that depends on the point alone.
    pub(super) fn score(&self, point: &[f64]) -> f64 {
        let mut logs: Vec<f32> = self.constants.iter().map(|constant| *constant as f32).collect();
        for ((column, dimension), place) in self.columns.iter().zip(&self.dimensions).zip(point) {
            match (column, dimension) {
                (Kernels::Number { sharp, shifted, masses, .. }, _) => match dimension.wide(*place) {
                    Some(value) => logs.iter_mut().zip(&masses[value]).for_each(|(log, mass)| *log += mass),
                    None => {
                        let place = *place as f32;
                        for ((log, sharp), shifted) in logs.iter_mut().zip(sharp).zip(shifted) {
                            let z = place * sharp - shifted;
                            *log -= z * z;
                        }
                    }
                },
                (Kernels::Choices { picks, hit, miss }, Dimension::Choices(count)) => {
                    let pick = cube::choice(*place, *count as u64) as usize;
                    logs[0] -= libm::log(*count as f64) as f32;
                    let logs = logs[1..].iter_mut().zip(picks);
                    logs.for_each(|(log, observed)| *log += if *observed == pick { *hit } else { *miss });
                }
                (Kernels::Choices { .. }, Dimension::Number { .. }) => {}
            }
        }
        let most = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // e^-20 of thousands of kernels is as good as nothing.
        let sum: f64 = logs.iter().filter(|log| **log > most - 20.0).map(|log| f64::from(libm::expf(log - most))).sum();
        f64::from(most) + libm::log(sum / self.weights.iter().sum::<f64>())
    }
}

/// Mass of the standard normal distribution above `z`.
fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Mass of the standard normal distribution between two places, exact in the tails too.
fn mass(low: f64, high: f64) -> f64 {
    if low > 0.0 { tail(low) - tail(high) } else { tail(-high) - tail(-low) }
}

/// One bandwidth for all observations along an axis.
fn spread(places: &[f64], floor: f64, dimensions: usize) -> f64 {
    match places {
        [] => return 1.0,
        // One has no spread: it reaches to the further end.
        [place] => return place.max(1.0 - place),
        _ => {}
    }
    let n = places.len() as f64;
    let mean = places.iter().sum::<f64>() / n;
    let variance = places.iter().map(|place| (place - mean) * (place - mean)).sum::<f64>() / (n - 1.0);
    let factor = libm::pow(n, -1.0 / (dimensions as f64 + 4.0));
    (libm::sqrt(variance) * factor).clamp(floor.min(1.0), 1.0)
}

/// Each observation's bandwidth along an axis.
fn gaps(places: &[f64], floor: f64) -> Vec<f64> {
    let mut sorted: Vec<usize> = (0..places.len()).collect();
    sorted.sort_by(|a, b| order::ascending(places[*a], places[*b]));
    let mut widths = vec![0.0; places.len()];
    for (rank, index) in sorted.iter().enumerate() {
        let here = places[*index];
        let below = rank.checked_sub(1).map(|rank| here - places[sorted[rank]]);
        let above = sorted.get(rank + 1).map(|next| places[*next] - here);
        widths[*index] = gap(below, above, here).clamp(floor.min(1.0), 1.0);
    }
    widths
}

/// The larger gap to a neighbour; outermost observations take the inner one, a single one the larger way to an end.
fn gap(below: Option<f64>, above: Option<f64>, here: f64) -> f64 {
    match (below, above) {
        (Some(below), Some(above)) => below.max(above),
        (Some(gap), None) | (None, Some(gap)) => gap,
        (None, None) => here.max(1.0 - here),
    }
}

/// The bandwidth of a place that joins others.
fn gap_among(places: &[f64], here: f64, floor: f64) -> f64 {
    // Least distances so many at a time, without a branch: each proposal looks at every kernel along every axis.
    const TOGETHER: usize = 8;
    let (mut below, mut above) = ([f64::INFINITY; TOGETHER], [f64::INFINITY; TOGETHER]);
    let nearer = |distance: f64, known: f64| if distance >= 0.0 && distance < known { distance } else { known };
    for places in places.chunks(TOGETHER) {
        for ((place, below), above) in places.iter().zip(&mut below).zip(&mut above) {
            *below = nearer(here - place, *below);
            *above = nearer(place - here, *above);
        }
    }
    let least = |gaps: [f64; TOGETHER]| gaps.into_iter().fold(f64::INFINITY, f64::min);
    let known = |gap: f64| gap.is_finite().then_some(gap);
    gap(known(least(below)), known(least(above)), here).clamp(floor.min(1.0), 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;
    use crate::strategies::cube::Cube;
    use std::sync::Arc;

    /// An estimator on one axis of each kind, and the cube.
    fn estimator() -> (Parzen, Cube) {
        let space = SpaceBuilder::new().float("x", -1.0, 3.0, 0.0).log_int("n", 1, 400, 5).categorical(
            "k",
            &["a", "b", "c"],
            "a",
        );
        let space = Arc::new(space.build());
        let cube = Cube::new(space.clone());
        let dimensions: Vec<Dimension> =
            cube.axes().iter().zip(space.codecs()).map(|(axis, codec)| Dimension::new(*axis, codec)).collect();
        let rows = [[-0.9, 1.0, 0.0], [2.9, 2.0, 2.0], [1.0, 300.0, 2.0], [1.1, 17.0, 1.0]];
        let observe = |row: &[f64; 3]| Observation { places: cube.encode(row), weight: 0.5 };
        (Parzen::new(&dimensions, &rows.map(|row| observe(&row)), 0.05, Width::Gap), cube)
    }

    #[test]
    fn the_density_sums_to_one() {
        let (parzen, cube) = estimator();
        let mut sum = 0.0;
        for choice in 0..3 {
            for n in 1..=400 {
                let place = cube.encode(&[0.0, f64::from(n), f64::from(choice)]);
                let (low, high) = interval(&cube.space().codecs()[1], n as u64 - 1, 400);
                for x in 0..100 {
                    let point = [(f64::from(x) + 0.5) / 100.0, place[1], place[2]];
                    sum += libm::exp(parzen.score(&point)) * (high - low) / 100.0;
                }
            }
        }
        // The midpoint rule at a hundredth, with bandwidths of a twentieth and more.
        assert!((sum - 1.0).abs() < 2e-3, "{sum}");
    }

    #[test]
    fn draws_fall_where_the_density_says() {
        let (parzen, _) = estimator();
        let n = 40_000;
        let draws: Vec<Vec<f64>> = (0..n).map(|draw| parzen.draw(Key::from_seed(7).child(draw))).collect();
        // Under draws from p, the mean of u(x) / p(x) is the integral of u: on the unit cube's cells, 1.
        let ratio = |point: &Vec<f64>| libm::exp(-parzen.score(point)) / 3.0;
        let mean = draws.iter().map(ratio).sum::<f64>() / f64::from(n);
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let first = draws.iter().filter(|point| cube::choice(point[2], 3) == 0).count() as f64 / f64::from(n);
        // Weights 1 of the prior and 4 x 0.5; shares 1.2 / 1.6 of the choice observed, 0.2 / 1.6 of each other.
        let expected = (1.0 / 3.0 + 0.5 * 0.75 + 1.5 * 0.125) / 3.0;
        assert!((first - expected).abs() < 0.01, "{first} {expected}");
    }

    #[test]
    fn a_kernel_that_is_added_counts_as_one_that_was_there() {
        let (mut parzen, cube) = estimator();
        let place = cube.encode(&[2.0, 3.0, 0.0]);
        let far = cube.encode(&[-0.8, 300.0, 1.0]);
        let before = (parzen.score(&place), parzen.score(&far));
        parzen.push(&place, 1.0);
        assert_eq!(parzen.len(), 6);
        assert!(parzen.score(&place) > before.0 + 0.5 && parzen.score(&far) < before.1);
    }
}
