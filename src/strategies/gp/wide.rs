//! Loops over f64 with all the processor has: the same sums in the same order, hence the same bits, eight or four at a time
//! where plain code does two.

use crate::backend::cpu::simd::{Kernel, Level, Simd, dispatch};

/// Loops, and what they run over.
pub(super) trait Loops {
    /// What they give.
    type Output;
    /// Runs them. It has to be `#[inline(always)]`, as has everything that it calls: a function that stays one, a closure that is
    /// passed on among them, is compiled for any processor.
    fn run(self) -> Self::Output;
}

struct Body<L>(L);

impl<L: Loops> Kernel for Body<L> {
    type Output = L::Output;

    #[inline(always)]
    fn run<V: Simd>(self) -> L::Output {
        self.0.run()
    }
}

/// Runs loops, compiled for the widest registers of the processor.
#[inline(always)]
pub(super) fn wide<L: Loops>(loops: L) -> L::Output {
    dispatch(Level::detect(), Body(loops))
}

/// Strands that a sum is made of, so that they run side by side; their order is the same everywhere.
const STRANDS: usize = 8;

#[inline(always)]
fn knot([s0, s1, s2, s3, s4, s5, s6, s7]: [f64; STRANDS]) -> f64 {
    ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))
}

/// The sum of a term of two numbers each.
#[inline(always)]
fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut strands = [0.0; STRANDS];
    for (a, b) in a.chunks_exact(STRANDS).zip(b.chunks_exact(STRANDS)) {
        for (strand, (a, b)) in strands.iter_mut().zip(a.iter().zip(b)) {
            *strand += term(*a, *b);
        }
    }
    let rest = n - n % STRANDS;
    let tail: f64 = a[rest..].iter().zip(&b[rest..]).map(|(a, b)| term(*a, *b)).sum();
    knot(strands) + tail
}

/// A sum of products.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_of(a, b, |a, b| a * b)
}

/// A plain sum.
#[inline(always)]
pub(super) fn sum(a: &[f64]) -> f64 {
    sum_of(a, a, |a, _| a)
}

/// The sum of pulls times what `x` and the others are apart.
#[inline(always)]
pub(super) fn leaning(x: f64, others: &[f64], pulls: &[f64]) -> f64 {
    sum_of(others, pulls, |other, pull| pull * (x - other))
}

/// The sum of pulls times the square of it.
#[inline(always)]
pub(super) fn pulled_squares(x: f64, others: &[f64], pulls: &[f64]) -> f64 {
    sum_of(others, pulls, |other, pull| pull * (x - other) * (x - other))
}

/// The sum of pulls where the others differ from `x`.
#[inline(always)]
pub(super) fn pulls_apart(x: f64, others: &[f64], pulls: &[f64]) -> f64 {
    sum_of(others, pulls, |other, pull| if x == other { 0.0 } else { pull })
}

/// [`pulled_squares`] and [`leaning`], whose terms are taken from the others' leanings.
#[inline(always)]
pub(super) fn pulled_squares_and_leanings(x: f64, others: &[f64], pulls: &[f64], leanings: &mut [f64]) -> (f64, f64) {
    let n = others.len().min(pulls.len()).min(leanings.len());
    let (others, pulls, leanings) = (&others[..n], &pulls[..n], &mut leanings[..n]);
    let (mut squares, mut sums) = ([0.0; STRANDS], [0.0; STRANDS]);
    let rest = n - n % STRANDS;
    let whole = others.chunks_exact(STRANDS).zip(pulls.chunks_exact(STRANDS));
    for ((others, pulls), leanings) in whole.zip(leanings.chunks_exact_mut(STRANDS)) {
        for strand in 0..STRANDS {
            let apart = x - others[strand];
            let lean = pulls[strand] * apart;
            leanings[strand] -= lean;
            sums[strand] += lean;
            squares[strand] += lean * apart;
        }
    }
    let (mut square, mut sum) = (knot(squares), knot(sums));
    for ((other, pull), leaning) in others[rest..].iter().zip(&pulls[rest..]).zip(&mut leanings[rest..]) {
        let lean = pull * (x - other);
        *leaning -= lean;
        sum += lean;
        square += lean * (x - other);
    }
    (square, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::simd;
    use crate::base::random::{Key, uniform_f64};

    fn values(number: u64, n: u64) -> Vec<f64> {
        (0..n).map(|counter| uniform_f64(Key::from_seed(number).words(counter)) - 0.3).collect()
    }

    /// Every sum of others and pulls, and the leanings that one of them takes from.
    struct All<'a>(&'a [f64], &'a [f64], &'a mut [f64]);

    impl Loops for All<'_> {
        type Output = [f64; 7];

        #[inline(always)]
        fn run(self) -> [f64; 7] {
            let All(others, pulls, leanings) = self;
            let (square, lean) = pulled_squares_and_leanings(0.4, others, pulls, leanings);
            let one_by_one = [pulled_squares(0.4, others, pulls), leaning(0.4, others, pulls)];
            let apart = pulls_apart(others.first().copied().unwrap_or(0.0), others, pulls);
            [dot(others, pulls), sum(others), one_by_one[0], one_by_one[1], square, lean, apart]
        }
    }

    #[test]
    fn sums_in_strands_are_the_plain_ones_and_have_the_same_bits_on_all_instructions() {
        for n in [0, 1, 7, 8, 9, 40, 67] {
            let (others, pulls) = (values(1, n), values(2, n));
            let apart = |other: &f64| 0.4 - other;
            let plain = others.iter().zip(&pulls).map(|(other, pull)| pull * apart(other) * apart(other)).sum::<f64>();
            let leans: Vec<f64> = others.iter().zip(&pulls).map(|(other, pull)| pull * apart(other)).collect();
            let mut leanings = vec![1.0; n as usize];
            let found = All(&others, &pulls, &mut leanings).run();
            let products = others.iter().zip(&pulls).map(|(a, b)| a * b).sum::<f64>();
            let lean = leans.iter().sum::<f64>();
            let apart = pulls.iter().skip(1).sum::<f64>();
            let expected = [products, others.iter().sum::<f64>(), plain, lean, plain, lean, apart];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{n}: {found} {expected}");
            }
            assert!(leanings.iter().zip(&leans).all(|(leaning, lean)| *leaning == 1.0 - lean));
            for level in simd::Level::available() {
                let mut wide_leanings = vec![1.0; n as usize];
                let wide = dispatch(level, Body(All(&others, &pulls, &mut wide_leanings)));
                assert_eq!(wide.map(f64::to_bits), found.map(f64::to_bits), "{n} on {}", level.name());
                assert_eq!(wide_leanings, leanings);
            }
        }
    }
}
