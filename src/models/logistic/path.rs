//! The path of solutions along the penalty: a few nodes solved once a fold, between which every lane reads its start.
//!
//! Solutions are smooth in ln l2. Cubic interpolation between sixteen nodes over eight decades is within 1e-3 of them on
//! digits and breast_cancer, from where a handful of iterations do, where from zero it were tens to hundreds. A node
//! depends on the fold alone (and on the tolerance asked for), so what starts from nodes does not depend on which other
//! candidates a study has.

/// Nodes of the path: one group of lanes solves them all.
pub const NODES: usize = 16;
/// Iterations after which a node is taken as it is; they count towards no lane's budget.
pub const NODE_ITERATIONS: u64 = 1000;

/// log10 of the first and last node's l2; a candidate beyond starts from the nearest end.
const ENDS: [f64; 2] = [-4.0, 4.0];
const SPACING: f64 = (ENDS[1] - ENDS[0]) / (NODES - 1) as f64;
/// Neighbours that a start is read from.
const STENCIL: usize = 4;

/// The l2 of a node.
pub fn node_l2(node: usize) -> f32 {
    libm::exp10(ENDS[0] + SPACING * node as f64) as f32
}

/// Where a start is read: `sum of coefficient * node` over four neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stencil {
    /// The first of the neighbours.
    pub first: usize,
    /// Lagrange's coefficients of the cubic through them.
    pub coefficients: [f32; STENCIL],
    /// What weights (not intercepts) are multiplied with: beyond the last node they shrink as 1 / l2.
    pub shrink: f32,
}

impl Stencil {
    /// The stencil of a candidate.
    pub fn new(l2: f32) -> Stencil {
        let exponent = libm::log10(f64::from(l2).max(f64::MIN_POSITIVE));
        let place = ((exponent - ENDS[0]) / SPACING).clamp(0.0, (NODES - 1) as f64);
        let first = (place as usize).saturating_sub(1).min(NODES - STENCIL);
        let offset = place - first as f64;
        let coefficients = std::array::from_fn(|i| {
            let others = (0..STENCIL).filter(|j| *j != i);
            others.map(|j| (offset - j as f64) / (i as f64 - j as f64)).product::<f64>() as f32
        });
        let shrink = (node_l2(NODES - 1) / l2).min(1.0);
        Stencil { first, coefficients, shrink }
    }

    /// The nodes that it reads.
    pub fn nodes(&self) -> std::ops::Range<usize> {
        self.first..self.first + STENCIL
    }

    /// The start, from the nodes' weights: in any layout whose first `slopes` entries are not intercepts.
    pub fn read(&self, nodes: [&[f32]; STENCIL], slopes: usize) -> Vec<f32> {
        let [c0, c1, c2, c3] = self.coefficients;
        let [n0, n1, n2, n3] = nodes;
        let pairs = n0.iter().zip(n1).zip(n2.iter().zip(n3));
        let mut start: Vec<f32> = pairs.map(|((n0, n1), (n2, n3))| c0 * n0 + c1 * n1 + c2 * n2 + c3 * n3).collect();
        start.iter_mut().take(slopes).for_each(|weight| *weight *= self.shrink);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cubic_in_the_logarithm_is_read_exactly() {
        let cubic = |l2: f32| f64::from(l2).log10().powi(3) - 2.0 * f64::from(l2).log10() + 1.0;
        for l2 in [1e-4f32, 3e-4, 0.02, 1.0, 7.7, 900.0, 1e4] {
            let stencil = Stencil::new(l2);
            let nodes: Vec<[f32; 1]> = stencil.nodes().map(|node| [cubic(node_l2(node)) as f32]).collect();
            let read = stencil.read(std::array::from_fn(|i| &nodes[i][..]), 1);
            assert!((f64::from(read[0]) - cubic(l2)).abs() < 1e-4, "{l2}: {} is not {}", read[0], cubic(l2));
        }
    }

    #[test]
    fn candidates_beyond_the_path_start_from_its_ends() {
        assert_eq!(Stencil::new(0.0), Stencil::new(1e-4));
        assert_eq!(Stencil::new(1e9).coefficients, [0.0, 0.0, 0.0, 1.0]);
        assert_eq!((Stencil::new(1e9).shrink, Stencil::new(1e-9).shrink), (1e-5, 1.0));
        assert_eq!(Stencil::new(1e9).nodes(), NODES - 4..NODES);
    }
}
