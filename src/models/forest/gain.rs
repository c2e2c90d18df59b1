//! Which of two splits is better, without rounding.
//!
//! A gain is a fraction of whole numbers, or one whole number (entropy). Two fractions are compared in f64, and by
//! multiplying out where f64 cannot tell them apart; so the better one is the same on every device that does either.

use std::sync::LazyLock;

/// The parts of a split's gain, on which it is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts {
    /// Squares of class weights summed over the left side (gini); `sum left * weight - sum * weight left` (numbers); or
    /// sums of `c log2 c` over both sides (entropy).
    pub left: i64,
    /// The same squares of the right side; 0 for the others.
    pub right: i64,
    /// Weight of the left side.
    pub left_weight: u32,
    /// Weight of the right side.
    pub right_weight: u32,
}

/// How parts become a gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `left / left_weight + right / right_weight`
    Squares,
    /// `left^2 / (left_weight * right_weight)`
    Deviation,
    /// `left`
    Sum,
}

/// More than f64 can err in a gain: some roundings of 2^-53 each.
const DOUBT: f64 = 1.0 / (1u64 << 48) as f64;

/// The best split so far.
#[derive(Debug, Clone, Copy)]
pub struct Best {
    rule: Rule,
    parts: Parts,
    /// Gains below are worse, gains above `high` are better.
    low: f64,
    high: f64,
}

impl Best {
    /// Nothing yet: any split is better.
    pub fn none(rule: Rule) -> Best {
        let parts = Parts { left: i64::MIN, right: 0, left_weight: 1, right_weight: 1 };
        Best { rule, parts, low: f64::NEG_INFINITY, high: f64::NEG_INFINITY }
    }

    /// Takes a split if it is better, and says whether it is.
    #[inline(always)]
    pub fn take(&mut self, parts: Parts) -> bool {
        if self.rule == Rule::Sum {
            let is_better = parts.left > self.parts.left;
            if is_better {
                self.parts = parts;
            }
            return is_better;
        }
        let gain = self.approximate(&parts);
        if gain < self.low || (gain <= self.high && !self.is_exactly_better(&parts)) {
            return false;
        }
        (self.low, self.high) = (gain - gain * DOUBT, gain + gain * DOUBT);
        self.parts = parts;
        true
    }

    #[inline(always)]
    fn approximate(&self, parts: &Parts) -> f64 {
        let (left_weight, right_weight) = (f64::from(parts.left_weight), f64::from(parts.right_weight));
        let numerator = match self.rule {
            Rule::Squares => parts.left as f64 * right_weight + parts.right as f64 * left_weight,
            _ => parts.left as f64 * parts.left as f64,
        };
        numerator / (left_weight * right_weight)
    }

    /// Both within doubt of each other.
    #[cold]
    #[inline(never)]
    fn is_exactly_better(&self, parts: &Parts) -> bool {
        if *parts == self.parts {
            return false;
        }
        let ((a, b), (c, d)) = (fraction(self.rule, parts), fraction(self.rule, &self.parts));
        is_greater(a, b, c, d)
    }
}

/// A gain as numerator and denominator: below 2^124 and 2^48.
fn fraction(rule: Rule, parts: &Parts) -> (u128, u64) {
    let (left_weight, right_weight) = (u128::from(parts.left_weight), u128::from(parts.right_weight));
    let numerator = match rule {
        Rule::Squares => parts.left as u128 * right_weight + parts.right as u128 * left_weight,
        _ => u128::from(parts.left.unsigned_abs()) * u128::from(parts.left.unsigned_abs()),
    };
    (numerator, u64::from(parts.left_weight) * u64::from(parts.right_weight))
}

/// Whether `a / b > c / d`.
fn is_greater(a: u128, b: u64, c: u128, d: u64) -> bool {
    let (b, d) = (u128::from(b), u128::from(d));
    if (a | c) >> 80 == 0 {
        return a * d > c * b;
    }
    let (whole, other) = (a / b, c / d);
    // Remainders are below the denominators: their products fit.
    if whole == other { a % b * d > c % d * b } else { whole > other }
}

/// `2^26 log2(1 + m / 2^16)`, for every m below 2^16.
pub static MANTISSAS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let step = f64::from(1u32 << 26);
    (0..1u32 << 16).map(|m| (libm::log2(1.0 + f64::from(m) / 65_536.0) * step).round() as u32).collect()
});

/// `c log2 c` in steps of 2^-26, rounded down to 16 bits of c.
pub struct Logarithms {
    mantissas: &'static [u32],
    /// The products of small c.
    small: Vec<i64>,
}

/// Counts whose products are in the table.
const SMALL: u32 = 1 << 12;

impl Logarithms {
    /// The tables.
    pub fn new() -> Logarithms {
        let mut tables = Logarithms { mantissas: &MANTISSAS, small: Vec::new() };
        tables.small = (0..SMALL).map(|count| tables.long_way(count)).collect();
        tables
    }

    /// `c log2 c` of a weight below 2^24.
    #[inline(always)]
    pub fn product(&self, count: u32) -> i64 {
        if count < SMALL { self.small[count as usize] } else { self.long_way(count) }
    }

    fn long_way(&self, count: u32) -> i64 {
        if count == 0 {
            return 0;
        }
        let exponent = 31 - count.leading_zeros();
        let mantissa = (u64::from(count) << 16 >> exponent) as usize & 0xffff;
        i64::from(count) * ((i64::from(exponent) << 26) + i64::from(self.mantissas[mantissa]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, below};

    #[test]
    fn fractions_are_compared_without_rounding() {
        // Equal in f64, one part in 2^80 apart.
        assert!(is_greater((1 << 80) + 1, 1 << 40, 1 << 80, 1 << 40));
        assert!(!is_greater(1 << 80, 1 << 40, (1 << 80) + 1, 1 << 40));
        assert!(!is_greater(6, 4, 3, 2));
        assert!(is_greater(u128::MAX >> 4, (1 << 48) - 1, (u128::MAX >> 4) - 1, (1 << 48) - 1));
        let key = Key::from_seed(3);
        for i in 0..2000 {
            // Neighbouring fractions with small denominators, by which both can be multiplied out.
            let [b, d] = [below(key, 4 * i, 1 << 20) + 1, below(key, 4 * i + 1, 1 << 20) + 1];
            let a = below(key, 4 * i + 2, 1 << 50) as u128 + (1 << 90);
            let c = a * u128::from(d) / u128::from(b) + u128::from(below(key, 4 * i + 3, 2));
            assert_eq!(is_greater(a, b, c, d), a * u128::from(d) > c * u128::from(b));
        }
    }

    #[test]
    fn the_first_of_equal_splits_stays_and_a_better_one_by_the_least_is_taken() {
        let parts = |left, right, left_weight, right_weight| Parts { left, right, left_weight, right_weight };
        let mut best = Best::none(Rule::Squares);
        assert!(best.take(parts(0, 0, 5, 5)), "any split is better than none");
        assert!(best.take(parts(1, 3, 3, 9)));
        // 1/3 + 3/9 = 2/3, in another way.
        assert!(!best.take(parts(3, 1, 9, 3)));
        let mut best = Best::none(Rule::Deviation);
        let large = (1i64 << 61) + 1;
        assert!(best.take(parts(large - 1, 0, 1 << 23, 1 << 23)));
        assert!(!best.take(parts(1 - large, 0, 1 << 23, 1 << 23)), "the sign means nothing");
        assert!(best.take(parts(large, 0, 1 << 23, 1 << 23)));
        let mut best = Best::none(Rule::Sum);
        assert!(best.take(parts(-7, 0, 1, 1)) && !best.take(parts(-7, 0, 2, 2)) && best.take(parts(-6, 0, 1, 1)));
    }

    #[test]
    fn logarithms_are_those_of_the_library_within_their_steps() {
        let tables = Logarithms::new();
        assert_eq!([0, 1, 2, 4].map(|count| tables.product(count)), [0, 0, 2 << 26, 8 << 26]);
        for count in [3u32, 100, SMALL - 1, SMALL, 65_535, 65_537, (1 << 24) - 1] {
            let own = tables.product(count) as f64 / f64::from(1u32 << 26);
            let exact = f64::from(count) * f64::from(count).log2();
            // Half a step of the table, and one of the mantissa's 16 bits beyond them.
            let allowed = f64::from(count) * if count < 1 << 17 { 1e-8 } else { 2.3e-5 };
            assert!((own - exact).abs() <= allowed, "{count}: {own} and {exact}");
        }
    }
}
