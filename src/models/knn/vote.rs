//! What neighbours say: one walk over a row's sorted list serves every number of neighbours and both weightings.

use super::KnnParams;
use super::search::Neighbour;
use crate::backend::cpu::simd::{Kernel, Lanes, Simd};
use crate::data::{Fold, Target};

/// What a neighbour stands for.
pub enum Labels {
    /// Its class.
    Classes(Vec<u32>, usize),
    /// Its number, less the shift: sums of what is left lose nothing to a common part.
    Values(Vec<f32>, f32),
}

impl Labels {
    /// Those of a fold's training rows.
    pub fn of(fold: &Fold) -> Labels {
        Labels::new(&fold.train.y, fold.target.shift)
    }

    /// Those of these targets.
    pub fn new(targets: &Target, shift: f32) -> Labels {
        match targets {
            Target::Classes { codes, classes } => Labels::Classes(codes.clone(), *classes),
            Target::Values(values) => Labels::Values(values.iter().map(|value| value - shift).collect(), shift),
        }
    }

    /// Outputs of a prediction.
    pub fn outputs(&self) -> usize {
        match self {
            Labels::Classes(_, classes) => *classes,
            Labels::Values(..) => 1,
        }
    }
}

/// How much each place of a list counts for sixteen lanes.
pub struct Shares {
    /// For each place: 1 for a lane that takes it by its weight, and 1 for a lane for which all count alike; else 0.
    places: Vec<[Lanes; 2]>,
}

impl Shares {
    /// Of lanes whose lists have at most `most` neighbours.
    pub fn new(lanes: &[KnnParams], most: usize) -> Shares {
        let longest = lanes.iter().map(|params| params.neighbours.min(most)).max().unwrap_or(0);
        let mut places = vec![[Lanes::ZERO; 2]; longest];
        for (lane, params) in lanes.iter().enumerate() {
            for place in places.iter_mut().take(params.neighbours) {
                place[usize::from(!params.is_by_distance)].0[lane] = 1.0;
            }
        }
        Shares { places }
    }

    /// Bytes for lists of so many neighbours.
    pub fn bytes(most: usize) -> u64 {
        (most * size_of::<[Lanes; 2]>()) as u64
    }
}

/// Lets the neighbours of some rows vote: `out[row * outputs + output]`.
pub struct Vote<'a, L> {
    /// One list of neighbours a row.
    pub lists: L,
    /// Of the training rows.
    pub labels: &'a Labels,
    /// Of the lanes.
    pub shares: &'a Shares,
    /// Where predictions go.
    pub out: &'a mut [Lanes],
}

impl<'a, L: Iterator<Item = &'a [Neighbour]>> Kernel for Vote<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Vote { lists, labels, shares, out } = self;
        for (list, out) in lists.zip(out.chunks_exact_mut(labels.outputs())) {
            let mut total = V::zero();
            out.fill(Lanes::ZERO);
            for (neighbour, [by_distance, alike]) in list.iter().zip(&shares.places) {
                let weight = V::load(by_distance).mul_add(V::splat(neighbour.weight), V::load(alike));
                total = total.add(weight);
                match labels {
                    Labels::Classes(codes, _) => {
                        let sum = &mut out[codes[neighbour.row as usize] as usize];
                        V::load(sum).add(weight).store(sum);
                    }
                    Labels::Values(values, _) => {
                        let value = V::splat(values[neighbour.row as usize]);
                        value.mul_add(weight, V::load(&out[0])).store(&mut out[0]);
                    }
                }
            }
            let shift = if let Labels::Values(_, shift) = labels { V::splat(*shift) } else { V::zero() };
            out.iter_mut().for_each(|out| V::load(out).div(total).add(shift).store(out));
        }
    }
}
