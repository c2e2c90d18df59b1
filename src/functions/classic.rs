//! The functions that every optimiser is shown on, with their usual domains and published optima.
//!
//! Formulas, domains and optima as Surjanovic & Bingham collect them (Virtual Library of Simulation Experiments,
//! sfu.ca/~ssurjano/optimization.html), unless a function says otherwise; each names who it is from. All instances are
//! alike.

use super::lanes::{self, LaneValues, values_of};
use super::shader::{FunctionShader, MATH, SHARED, SINGLE};
use super::{Evaluate, Function, Single};
use crate::base::registry::Named;
use std::f64::consts::{E, PI};
use std::ops::RangeInclusive;

/// A function without instances.
pub(super) struct Classic {
    name: &'static str,
    summary: &'static str,
    dimensions: RangeInclusive<usize>,
    default_dimensions: usize,
    /// Of each parameter; the last holds for all that follow.
    bounds: &'static [(f64, f64)],
    optimum: f64,
    /// A minimiser's coordinates; the last holds for all that follow.
    minimizer: &'static [f64],
    value: fn(&[f64]) -> f64,
    /// The same of sixteen points at a time.
    lanes: Option<LaneValues>,
    /// Its number in the shader.
    number: u32,
    /// What the shader reads, of so many dimensions.
    constants: fn(usize) -> Vec<f64>,
}

/// The most parameters of a function that could have any number of them; each is named in a space.
const MOST: usize = 10_000;

/// `sum x_i^2`; De Jong 1975, function 1.
pub(super) static SPHERE: Classic = Classic {
    name: "sphere",
    summary: "sphere: smooth, convex, separable",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-5.12, 5.12)],
    optimum: 0.0,
    minimizer: &[0.0],
    value: |x| x.iter().map(|x| x * x).sum(),
    lanes: Some(values_of::<lanes::Sphere>),
    number: 0,
    constants: |_| Vec::new(),
};

/// `sum 10^(6 i / (n - 1)) x_i^2`, i from 0; Hansen & Ostermeier 2001.
pub(super) static ELLIPSOID: Classic = Classic {
    name: "ellipsoid",
    summary: "ellipsoid: convex, axes of very different lengths (condition 10^6)",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-5.0, 5.0)],
    optimum: 0.0,
    minimizer: &[0.0],
    value: |x| x.iter().enumerate().map(|(i, along)| ellipsoid_weight(i, x.len()) * along * along).sum(),
    lanes: Some(values_of::<lanes::Ellipsoid>),
    number: 1,
    constants: |n| (0..n).map(|i| ellipsoid_weight(i, n)).collect(),
};

/// What axis i of n weighs.
pub(super) fn ellipsoid_weight(i: usize, n: usize) -> f64 {
    let last = (n - 1).max(1) as f64;
    libm::pow(1e6, i as f64 / last)
}

/// `sum 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2`; Rosenbrock 1960, in n dimensions by De Jong 1975, function 2.
pub(super) static ROSENBROCK: Classic = Classic {
    name: "rosenbrock",
    summary: "Rosenbrock: a long bent valley, not separable",
    dimensions: 2..=MOST,
    default_dimensions: 10,
    bounds: &[(-5.0, 10.0)],
    optimum: 0.0,
    minimizer: &[1.0],
    value: |x| {
        let term = |pair: &[f64]| {
            let (across, along) = (pair[1] - pair[0] * pair[0], 1.0 - pair[0]);
            100.0 * across * across + along * along
        };
        x.windows(2).map(term).sum()
    },
    lanes: Some(values_of::<lanes::Rosenbrock>),
    number: 2,
    constants: |_| Vec::new(),
};

/// `10 n + sum x_i^2 - 10 cos(2 pi x_i)`; Rastrigin 1974, in n dimensions by Mühlenbein, Schomisch & Born 1991.
pub(super) static RASTRIGIN: Classic = Classic {
    name: "rastrigin",
    summary: "Rastrigin: a lattice of local optima in a bowl, separable",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-5.12, 5.12)],
    optimum: 0.0,
    minimizer: &[0.0],
    value: |x| x.iter().map(|x| x * x + 10.0 * (1.0 - libm::cos(2.0 * PI * x))).sum(),
    lanes: None,
    number: 3,
    constants: |_| Vec::new(),
};

/// `20 + e - 20 exp(-0.2 sqrt(mean x_i^2)) - exp(mean cos(2 pi x_i))`; Ackley 1987, in n dimensions by Bäck 1996.
pub(super) static ACKLEY: Classic = Classic {
    name: "ackley",
    summary: "Ackley: a nearly flat plain of local optima around a narrow funnel",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-32.768, 32.768)],
    optimum: 0.0,
    minimizer: &[0.0],
    value: |x| {
        let n = x.len() as f64;
        let squares: f64 = x.iter().map(|x| x * x).sum();
        let waves: f64 = x.iter().map(|x| libm::cos(2.0 * PI * x)).sum();
        20.0 - 20.0 * libm::exp(-0.2 * (squares / n).sqrt()) + (E - libm::exp(waves / n))
    },
    lanes: None,
    number: 4,
    constants: |_| Vec::new(),
};

/// `1 + sum x_i^2 / 4000 - product cos(x_i / sqrt(i))`, i from 1; Griewank 1981.
pub(super) static GRIEWANK: Classic = Classic {
    name: "griewank",
    summary: "Griewank: a wide bowl with ripples, smoother with more dimensions",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-600.0, 600.0)],
    optimum: 0.0,
    minimizer: &[0.0],
    value: |x| {
        let squares: f64 = x.iter().map(|x| x * x).sum();
        let waves: f64 = x.iter().zip(1u32..).map(|(x, i)| libm::cos(x / f64::from(i).sqrt())).product();
        1.0 + squares / 4000.0 - waves
    },
    lanes: None,
    number: 5,
    constants: |_| Vec::new(),
};

/// `sum c - x_i sin(sqrt |x_i|)`; Schwefel 1981. c, elsewhere rounded to 418.9829, has all its digits, so that the
/// optimum is 0 in any number of dimensions.
pub(super) static SCHWEFEL: Classic = Classic {
    name: "schwefel",
    summary: "Schwefel: the best valley lies near a corner, far from the second best",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-500.0, 500.0)],
    optimum: 0.0,
    minimizer: &[420.968_746_359_982],
    value: |x| x.iter().map(|x| 418.982_887_272_433_7 - x * libm::sin(x.abs().sqrt())).sum(),
    lanes: None,
    number: 6,
    constants: |_| Vec::new(),
};

/// With `w_i = 1 + (x_i - 1) / 4` it is `sin^2(pi w_1)`, `(w_i - 1)^2 (1 + 10 sin^2(pi w_i + 1))` for all but the last, and
/// `(w_n - 1)^2 (1 + sin^2(2 pi w_n))`, summed; Levy & Montalvo 1985, as Laguna & Martí 2005 give it.
pub(super) static LEVY: Classic = Classic {
    name: "levy",
    summary: "Levy: ridges of local optima parallel to the axes",
    dimensions: 1..=MOST,
    default_dimensions: 10,
    bounds: &[(-10.0, 10.0)],
    optimum: 0.0,
    minimizer: &[1.0],
    value: |x| {
        let squared_sine = |angle: f64| libm::sin(angle) * libm::sin(angle);
        let w = |x: &f64| 1.0 + (x - 1.0) / 4.0;
        let Some((last, others)) = x.split_last() else { return 0.0 };
        let term = |w: f64| (w - 1.0) * (w - 1.0) * (1.0 + 10.0 * squared_sine(PI * w + 1.0));
        let (first, last) = (w(&x[0]), w(last));
        let middle: f64 = others.iter().map(|x| term(w(x))).sum();
        squared_sine(PI * first) + middle + (last - 1.0) * (last - 1.0) * (1.0 + squared_sine(2.0 * PI * last))
    },
    lanes: None,
    number: 7,
    constants: |_| Vec::new(),
};

/// `(x_2 - 5.1 x_1^2 / (4 pi^2) + 5 x_1 / pi - 6)^2 + 10 (1 - 1 / (8 pi)) cos(x_1) + 10`; Branin 1972, Dixon & Szegő
/// 1978. Of three equal minima this is the one in the middle: the square is 0 and the cosine -1, which leaves 10 / (8
/// pi).
pub(super) static BRANIN: Classic = Classic {
    name: "branin",
    summary: "Branin: three equal minima in two dimensions",
    dimensions: 2..=2,
    default_dimensions: 2,
    bounds: &[(-5.0, 10.0), (0.0, 15.0)],
    optimum: 10.0 / (8.0 * PI),
    minimizer: &[PI, 2.275],
    value: |x| {
        let square = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
        square * square + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * libm::cos(x[0]) + 10.0
    },
    lanes: None,
    number: 8,
    constants: |_| Vec::new(),
};

/// `-sum_k c_k exp(-sum_i a_ki (x_i - p_ki)^2)`; Hartman 1973, Dixon & Szegő 1978. The optimum is published
/// as -3.32237; further digits by Newton steps from the published minimiser, in 40 digits.
pub(super) static HARTMANN6: Classic = Classic {
    name: "hartmann6",
    summary: "Hartmann: six local optima in six dimensions",
    dimensions: 6..=6,
    default_dimensions: 6,
    bounds: &[(0.0, 1.0)],
    optimum: HARTMANN6_OPTIMUM,
    minimizer: &HARTMANN6_MINIMIZER,
    value: |x| {
        let peak = |((height, widths), centre): ((&f64, &[f64; 6]), &[f64; 6])| {
            let terms = x.iter().zip(widths).zip(centre);
            let distance: f64 = terms.map(|((x, a), p)| a * (x - p * 1e-4) * (x - p * 1e-4)).sum();
            height * libm::exp(-distance)
        };
        -HARTMANN6_HEIGHTS.iter().zip(&HARTMANN6_WIDTHS).zip(&HARTMANN6_CENTRES).map(peak).sum::<f64>()
    },
    lanes: None,
    number: 9,
    constants: |_| hartmann6_constants(),
};

const HARTMANN6_OPTIMUM: f64 = -3.322_368_011_415_515;
const HARTMANN6_MINIMIZER: [f64; 6] = [
    0.201_689_511_006_705_4,
    0.150_010_691_823_457_97,
    0.476_873_974_221_897,
    0.275_332_430_494_056_1,
    0.311_651_616_600_113_25,
    0.657_300_534_065_620_3,
];
const HARTMANN6_HEIGHTS: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
const HARTMANN6_WIDTHS: [[f64; 6]; 4] = [
    [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
    [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
    [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
    [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
];
/// In ten-thousandths.
const HARTMANN6_CENTRES: [[f64; 6]; 4] = [
    [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
    [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
    [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
    [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
];

/// Peak after peak, as the shader reads them.
fn hartmann6_constants() -> Vec<f64> {
    let peaks = HARTMANN6_HEIGHTS.iter().zip(&HARTMANN6_WIDTHS).zip(&HARTMANN6_CENTRES);
    let peak = |((height, widths), centre): ((&f64, &[f64; 6]), &[f64; 6])| {
        [*height].into_iter().chain(*widths).chain(centre.map(|place| place * 1e-4)).collect::<Vec<f64>>()
    };
    peaks.flat_map(peak).collect()
}

/// The entry of a parameter, where the last entry holds for all that follow.
fn of<T: Copy>(entries: &[T], index: usize) -> T {
    entries[index.min(entries.len() - 1)]
}

impl Named for Classic {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
}

impl Function for Classic {
    fn dimensions(&self) -> RangeInclusive<usize> {
        self.dimensions.clone()
    }
    fn default_dimensions(&self) -> usize {
        self.default_dimensions
    }
    fn bounds(&self, index: usize) -> (f64, f64) {
        of(self.bounds, index)
    }
    fn optimum(&self, _: usize, _: u32) -> Option<f64> {
        Some(self.optimum)
    }
    fn minimizer(&self, dimensions: usize, _: u32) -> Option<Vec<f64>> {
        Some((0..dimensions).map(|index| of(self.minimizer, index)).collect())
    }
    fn lanes(&self) -> Option<LaneValues> {
        self.lanes
    }
    fn shader(&self, dimensions: usize, _: u32) -> Option<FunctionShader> {
        Some(FunctionShader {
            name: self.name,
            sources: &[MATH, SHARED, SINGLE, include_str!("../../shaders/functions/classic.wgsl")],
            number: self.number,
            dimensions,
            objectives: 1,
            constants: (self.constants)(dimensions).into_iter().map(|number| number as f32).collect(),
            scratch: 0,
            offset: 0.0,
        })
    }
    fn open(&self, _: usize, _: u32) -> Box<dyn Evaluate> {
        Box::new(Single(self.value))
    }
}

#[cfg(test)]
mod tests {
    use crate::functions::find;

    #[test]
    fn values_are_those_of_pymoo() {
        let lines = include_str!("../../tests/fixtures/functions/classic.csv").lines();
        for line in lines {
            let (name, numbers) = line.split_once(',').unwrap_or_else(|| panic!("{line}"));
            let numbers: Vec<f64> = numbers.split(',').map(|text| text.parse().unwrap_or(f64::NAN)).collect();
            let (expected, x) = (numbers[0], &numbers[1..]);
            let function = find(name).unwrap_or_else(|error| panic!("{error}"));
            let mut value = [0.0];
            function.open(x.len(), 1).evaluate(x, &mut value);
            // Sums of a few numbers in another order; pymoo's Schwefel has c in seven digits, 418.9829.
            let tolerance = if name == "schwefel" { 2e-5 * x.len() as f64 } else { 1e-12 * expected.abs() };
            assert!((value[0] - expected).abs() <= tolerance, "{name}: {} for {expected}", value[0]);
        }
    }
}
