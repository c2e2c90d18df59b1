//! Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to a tridiagonal matrix, then implicit QL
//! (EISPACK's tred2 and tql2; Bowdler, Martin, Reinsch & Wilkinson 1968). Additions, products and square roots alone, in
//! a fixed order: linear algebra libraries choose instructions by the processor, and their last bits with them.

/// What a symmetric matrix is made of.
#[derive(Debug, Clone)]
pub(super) struct Eigen {
    /// The eigenvalues, in no particular order.
    pub(super) values: Vec<f64>,
    /// The eigenvectors, one after another, in the order of the values.
    pub(super) vectors: Vec<f64>,
}

/// QL steps for one eigenvalue; what takes more is not a matrix of numbers. EISPACK stops at 30.
const STEPS: usize = 100;

/// Of the symmetric n x n `matrix`; `None` where it holds something that is not finite.
pub(super) fn eigen(matrix: &[f64], n: usize) -> Option<Eigen> {
    if n == 0 || !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut vectors = matrix.to_vec();
    let (mut values, mut beside) = tridiagonal(&mut vectors, n);
    ql(&mut values, &mut beside, &mut vectors, n)?;
    Some(Eigen { values, vectors })
}

/// tred2: the diagonal and, from the second place on, what stands beside it. `v` becomes the transformation, column after
/// column: `v[j * n + k]` is row k of column j.
fn tridiagonal(v: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut d: Vec<f64> = (0..n).map(|j| v[j * n + n - 1]).collect();
    let mut e = vec![0.0; n];
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|d| d.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[j * n + i - 1];
                v[j * n + i] = 0.0;
                v[i * n + j] = 0.0;
            }
        } else {
            d[..i].iter_mut().for_each(|d| *d /= scale);
            h = d[..i].iter().map(|d| d * d).sum();
            let f = d[i - 1];
            let g = if f > 0.0 { -f64::sqrt(h) } else { f64::sqrt(h) };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                let f = d[j];
                v[i * n + j] = f;
                let mut g = e[j] + v[j * n + j] * f;
                for k in j + 1..i {
                    g += v[j * n + k] * d[k];
                    e[k] += v[j * n + k] * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let hh = f / (h + h);
            for j in 0..i {
                e[j] -= hh * d[j];
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                for k in j..i {
                    v[j * n + k] -= f * e[k] + g * d[k];
                }
                d[j] = v[j * n + i - 1];
                v[j * n + i] = 0.0;
            }
        }
        d[i] = h;
    }
    for i in 0..n - 1 {
        v[i * n + n - 1] = v[i * n + i];
        v[i * n + i] = 1.0;
        let h = d[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = v[(i + 1) * n + k] / h;
            }
            for j in 0..=i {
                let g: f64 = (0..=i).map(|k| v[(i + 1) * n + k] * v[j * n + k]).sum();
                for k in 0..=i {
                    v[j * n + k] -= g * d[k];
                }
            }
        }
        v[(i + 1) * n..][..=i].fill(0.0);
    }
    for j in 0..n {
        d[j] = v[j * n + n - 1];
        v[j * n + n - 1] = 0.0;
    }
    v[n * n - 1] = 1.0;
    (d, e)
}

/// tql2: turns the diagonal into the eigenvalues, and the transformation into the eigenvectors.
fn ql(d: &mut [f64], e: &mut [f64], v: &mut [f64], n: usize) -> Option<()> {
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shifted, mut largest) = (0.0, 0.0f64);
    for l in 0..n {
        largest = largest.max(d[l].abs() + e[l].abs());
        let is_small = |e: f64| e.abs() <= f64::EPSILON * largest;
        // e[n - 1] is 0: there is always a place.
        let m = (l..n).find(|m| is_small(e[*m]))?;
        let (mut steps, mut is_done) = (0, m == l);
        while !is_done {
            steps += 1;
            if steps > STEPS {
                return None;
            }
            let g = d[l];
            let mut p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = if p < 0.0 { -libm::hypot(p, 1.0) } else { libm::hypot(p, 1.0) };
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let (next, h) = (d[l + 1], g - d[l]);
            d[l + 2..].iter_mut().for_each(|d| *d -= h);
            shifted += h;
            p = d[m];
            let (mut c, mut c2, mut c3, mut s, mut s2) = (1.0, 1.0, 1.0, 0.0, 0.0);
            let beside = e[l + 1];
            for i in (l..m).rev() {
                (c3, c2, s2) = (c2, c, s);
                let (g, h) = (c * e[i], c * p);
                let r = libm::hypot(p, e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                let (left, right) = v[i * n..].split_at_mut(n);
                for (left, right) in left.iter_mut().zip(right) {
                    let h = *right;
                    *right = s * *left + c * h;
                    *left = c * *left - s * h;
                }
            }
            p = -s * s2 * c3 * beside * e[l] / next;
            e[l] = s * p;
            d[l] = c * p;
            is_done = is_small(e[l]);
        }
        d[l] += shifted;
        e[l] = 0.0;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, uniform_f64};

    fn random_symmetric(n: usize) -> Vec<f64> {
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let value = uniform_f64(Key::from_seed(n as u64).words((i * n + j) as u64)) - 0.5;
                (matrix[i * n + j], matrix[j * n + i]) = (value, value);
            }
        }
        matrix
    }

    #[test]
    fn vectors_are_orthonormal_and_give_the_matrix_back() {
        for n in [1, 2, 3, 10, 40] {
            let matrix = random_symmetric(n);
            let Eigen { values, vectors } = eigen(&matrix, n).expect("finite");
            for i in 0..n {
                for j in 0..n {
                    let product: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                    let back: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    // Rounding grows with n; 1e-13 is some hundred units in the last place of 1.
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-13, "n = {n}: {i}, {j}");
                    assert!((back - matrix[i * n + j]).abs() < 1e-13, "n = {n}: {i}, {j}");
                }
            }
        }
    }

    #[test]
    fn diagonal_and_singular_matrices_come_out() {
        let mut values = eigen(&[3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-20], 3).expect("finite").values;
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [0.0, 1e-20, 3.0]);
        assert!(eigen(&[f64::NAN], 1).is_none() && eigen(&[1.0, f64::INFINITY, f64::INFINITY, 1.0], 2).is_none());
    }
}
