//! Tails of the distributions that tests of significance look up: normal, Student's t and chi-squared.
//!
//! Series and continued fractions as in Numerical Recipes (Press et al. 2007, sections 6.2 and 6.4), in f64 and with libm's
//! functions, so that a decision made by them is the same on every platform.

/// Terms after which a series or a fraction has long converged: it takes about the root of its parameter.
const MOST_TERMS: usize = 10_000;
/// In place of a denominator of 0 (Lentz's method).
const TINY: f64 = 1e-300;

/// How likely a standard normal variable is above `z`.
pub fn normal_above(z: f64) -> f64 {
    0.5 * libm::erfc(z / core::f64::consts::SQRT_2)
}

/// How likely Student's t of so many degrees of freedom is above `t`.
pub fn student_above(t: f64, degrees: f64) -> f64 {
    if t.is_nan() || degrees.is_nan() || degrees <= 0.0 {
        return f64::NAN;
    }
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    let beyond = 0.5 * beta_below(degrees / (degrees + t * t), degrees / 2.0, 0.5);
    if t >= 0.0 { beyond } else { 1.0 - beyond }
}

/// How likely chi-squared of so many degrees of freedom is above `x`.
pub fn chi_squared_above(x: f64, degrees: f64) -> f64 {
    if x.is_nan() || degrees.is_nan() || degrees <= 0.0 {
        return f64::NAN;
    }
    gamma_above(x.max(0.0) / 2.0, degrees / 2.0)
}

/// The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1.
fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let scale = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    let front = libm::exp(scale);
    // The fraction converges fast below the mean of the distribution; above it, its mirror does.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for term in 1..MOST_TERMS {
        let m = term as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / kept(1.0 + even * d);
        c = kept(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / kept(1.0 + odd * d);
        c = kept(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

/// The regularised upper incomplete gamma function Q(a, x), for x >= 0.
fn gamma_above(x: f64, a: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..MOST_TERMS {
            term *= x / (a + step as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut value = d;
    for step in 1..MOST_TERMS {
        let numerator = -(step as f64) * (step as f64 - a);
        b += 2.0;
        let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
        d = 1.0 / kept(numerator * d + b);
        c = kept(b + numerator / c);
        value *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front * value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal but for what the logarithm of a large gamma function loses.
    fn is_close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-11 * b.abs()
    }

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.norm.sf, t.sf and chi2.sf of SciPy 1.17.1: tests/fixtures/schedulers/distributions.py.
        let lines = include_str!("../../tests/fixtures/schedulers/distributions.csv").lines().skip(1);
        let mut tried = 0;
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |place: usize| cells[place].parse::<f64>().unwrap();
            let (x, degrees, expected) = (number(1), number(2), number(3));
            let found = match cells[0] {
                "normal" => normal_above(x),
                "student" => student_above(x, degrees),
                _ => chi_squared_above(x, degrees),
            };
            assert!(is_close(found, expected), "{line}: {found}");
            assert!(!is_close(found * (1.0 + 1e-9), expected) || expected == 0.0, "{line}: the tolerance is too wide");
            tried += 1;
        }
        assert!(tried > 100, "{tried}");
    }

    #[test]
    fn ends_of_the_line_have_their_tails() {
        assert_eq!((student_above(f64::INFINITY, 3.0), student_above(f64::NEG_INFINITY, 3.0)), (0.0, 1.0));
        assert_eq!((chi_squared_above(0.0, 4.0), chi_squared_above(f64::INFINITY, 4.0)), (1.0, 0.0));
        assert!(student_above(f64::NAN, 3.0).is_nan() && chi_squared_above(1.0, 0.0).is_nan());
    }
}
