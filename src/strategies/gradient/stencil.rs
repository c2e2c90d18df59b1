//! Slopes from differences: two probes on every axis that the model says nothing of, which tell its curvature too.

/// The probes of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Which axis of the descent.
    pub axis: usize,
    /// Where from the centre.
    pub offsets: [f64; 2],
}

/// A pair on every axis that needs one: on both sides of the centre, or both on the inner side of a bound that is nearer
/// than `reach`, which is a quarter at most.
pub fn pairs(centre: &[f64], lacks: &[bool], reach: f64) -> Vec<Pair> {
    let offsets = |x: f64| {
        if x + reach > 1.0 {
            [-reach, -2.0 * reach]
        } else if x - reach < 0.0 {
            [reach, 2.0 * reach]
        } else {
            [reach, -reach]
        }
    };
    let needed = centre.iter().zip(lacks).enumerate().filter(|(_, (_, lacks))| **lacks);
    needed.map(|(axis, (x, _))| Pair { axis, offsets: offsets(*x) }).collect()
}

/// Slope and curvature of the parabola through three values. Where a probe failed the other one's slope, without a
/// curvature; where both did, 0.
pub fn slope(centre: f64, pair: &Pair, values: [f64; 2]) -> (f64, f64) {
    let [a, b] = pair.offsets;
    let [to_a, to_b] = [(values[0] - centre) / a, (values[1] - centre) / b];
    match [to_a, to_b].map(f64::is_finite) {
        [true, true] => {
            let curvature = 2.0 * (to_b - to_a) / (b - a);
            (to_a - a * curvature / 2.0, curvature)
        }
        [true, false] => (to_a, f64::NAN),
        [false, true] => (to_b, f64::NAN),
        [false, false] => (0.0, f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parabolas_are_seen_exactly_also_at_the_ends() {
        let value = |x: f64| 3.0 * (x - 0.4) * (x - 0.4) + x;
        for x in [0.0, 0.01, 0.5, 0.99, 1.0] {
            let [pair] = pairs(&[x], &[true], 0.0625)[..] else { panic!("one pair") };
            assert!(pair.offsets.iter().all(|offset| (0.0..=1.0).contains(&(x + offset))), "{pair:?}");
            let (slope, curvature) = slope(value(x), &pair, pair.offsets.map(|offset| value(x + offset)));
            assert!((slope - (6.0 * (x - 0.4) + 1.0)).abs() < 1e-12 && (curvature - 6.0).abs() < 1e-10);
        }
    }

    #[test]
    fn a_probe_that_fails_leaves_the_other_ones_slope() {
        let pair = Pair { axis: 0, offsets: [0.1, -0.1] };
        assert_eq!(slope(1.0, &pair, [f64::NAN, 0.5]).0, 5.0);
        assert_eq!(slope(1.0, &pair, [1.5, f64::NAN]).0, 5.0);
        assert_eq!(slope(1.0, &pair, [f64::NAN; 2]).0, 0.0);
    }
}
