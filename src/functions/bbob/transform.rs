//! What BBOB bends its functions with (RR-6829, section 0.2).

/// The bounds of every BBOB function.
pub(super) const BOUNDS: (f64, f64) = (-5.0, 5.0);

/// `x - optimum`
pub(super) fn shifted(x: &[f64], optimum: &[f64]) -> Vec<f64> {
    x.iter().zip(optimum).map(|(x, optimum)| x - optimum).collect()
}

/// T_osz of one number: smooth waves on a logarithmic scale, small and alike near 0, different on its two sides.
pub(super) fn oscillated(x: f64) -> f64 {
    let wave = |log: f64, first: f64, second: f64| {
        let bent = log + 0.49 * (libm::sin(first * log) + libm::sin(second * log));
        libm::pow(libm::exp(bent), 0.1)
    };
    if x > 0.0 {
        wave(libm::log(x) / 0.1, 1.0, 0.79)
    } else if x < 0.0 {
        -wave(libm::log(-x) / 0.1, 0.55, 0.31)
    } else {
        0.0
    }
}

/// T_osz of every coordinate.
pub(super) fn oscillate(x: &mut [f64]) {
    x.iter_mut().for_each(|x| *x = oscillated(*x));
}

/// T_asy^beta: positive coordinates grow faster, the later ones more.
pub(super) fn skew(x: &mut [f64], beta: f64) {
    let n = x.len();
    for (i, x) in x.iter_mut().enumerate() {
        if *x > 0.0 {
            *x = libm::pow(*x, 1.0 + beta * i as f64 / (n as f64 - 1.0) * x.sqrt());
        }
    }
}

/// f_pen: the squared distance to the box.
pub(super) fn penalty(x: &[f64]) -> f64 {
    x.iter().map(|x| (x.abs() - 5.0).max(0.0)).map(|beyond| beyond * beyond).sum()
}

/// To the nearest whole number, halves up.
pub(super) fn round(x: f64) -> f64 {
    (x + 0.5).floor()
}

/// x by powers: multiplies every coordinate by its factor.
pub(super) fn stretch(x: &mut [f64], factors: &[f64]) {
    x.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
}
