//! How genetic strategies make a child of two parents: simulated binary crossover and polynomial mutation where there is an
//! order, uniform ones where there is none.

use super::cube::{Axis, Cube};
use super::generations::{Draws, Member};
use crate::base::random::Key;

/// How children differ from their parents.
#[derive(Debug, Clone, Copy)]
pub struct Variation {
    /// How likely a child has two parents.
    pub crossover: f64,
    /// How likely a child mutates along an axis.
    pub mutation: f64,
    /// Distribution index of crossover: how near children are to their parents. Deb & Agrawal 1995 use 2 to 20.
    pub crossover_index: f64,
    /// Distribution index of mutation: a step of about one in so many of the range (Deb & Goyal 1996).
    pub mutation_index: f64,
}

/// A child of two parents, if it is crossed along every other axis. Another candidate than the mother if that can be had.
pub fn child(cube: &Cube, key: Key, mother: &Member, father: &Member, variation: Variation) -> Member {
    let axes = cube.axes();
    Member::propose(cube, key, Some(mother), |draws| {
        let mut place = mother.place.clone();
        let is_crossed = draws.uniform() < variation.crossover;
        for (axis, place) in place.iter_mut().enumerate() {
            if is_crossed && draws.uniform() < 0.5 {
                *place = match axes[axis] {
                    Axis::Choices(_) => father.place[axis],
                    Axis::Continuous | Axis::Ordered(_) => {
                        cross(*place, father.place[axis], variation.crossover_index, draws)
                    }
                };
            }
            if draws.uniform() < variation.mutation {
                *place = match axes[axis] {
                    Axis::Choices(count) => draws.choice(count),
                    Axis::Continuous | Axis::Ordered(_) => mutate(*place, variation.mutation_index, draws.uniform()),
                };
            }
        }
        place
    })
}

/// Simulated binary crossover (Deb & Agrawal 1995) within bounds (Deb's NSGA-II): one of the two children, either one as
/// likely.
fn cross(a: f64, b: f64, index: f64, draws: &mut Draws) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    let (uniform, is_upper) = (draws.uniform(), draws.uniform() < 0.5);
    let apart = high - low;
    if apart < 1e-14 {
        return a;
    }
    let room = if is_upper { 1.0 - high } else { low };
    let alpha = 2.0 - libm::pow(1.0 + 2.0 * room / apart, -(index + 1.0));
    let share = uniform * alpha;
    let spread = libm::pow(if share <= 1.0 { share } else { 1.0 / (2.0 - share) }, 1.0 / (index + 1.0));
    let sign = if is_upper { 1.0 } else { -1.0 };
    (0.5 * (low + high + sign * spread * apart)).clamp(0.0, 1.0)
}

/// Polynomial mutation (Deb & Goyal 1996) within bounds.
fn mutate(place: f64, index: f64, uniform: f64) -> f64 {
    let power = index + 1.0;
    let step = if uniform < 0.5 {
        libm::pow(2.0 * uniform + (1.0 - 2.0 * uniform) * libm::pow(1.0 - place, power), 1.0 / power) - 1.0
    } else {
        1.0 - libm::pow(2.0 * (1.0 - uniform) + (2.0 * uniform - 1.0) * libm::pow(place, power), 1.0 / power)
    };
    (place + step).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_crossover_are_spread_around_both_parents_alike() {
        let mut draws = Draws::new(Key::from_seed(4));
        let children: Vec<f64> = (0..20_000).map(|_| cross(0.4, 0.6, 15.0, &mut draws)).collect();
        let mean = children.iter().sum::<f64>() / 20_000.0;
        // The standard error of the mean is 0.1 / sqrt(20,000) = 0.0007.
        assert!((mean - 0.5).abs() < 0.003, "{mean}");
        // Contracting and expanding are equally likely (Deb & Agrawal 1995, section 3).
        let inside = children.iter().filter(|child| (0.4..0.6).contains(*child)).count();
        assert!((9_700..10_300).contains(&inside), "{inside}");
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&cross(0.0, 1.0, 15.0, &mut draws))));
    }

    #[test]
    fn mutation_is_small_and_stays_inside() {
        for place in [0.0, 0.01, 0.5, 1.0] {
            let mutants: Vec<f64> = (0..1000).map(|i| mutate(place, 20.0, i as f64 / 1000.0)).collect();
            assert!(mutants.iter().all(|mutant| (0.0..=1.0).contains(mutant)), "{place}");
            let step = mutants.iter().map(|mutant| (mutant - place).abs()).sum::<f64>() / 1000.0;
            assert!((0.01..0.1).contains(&step), "{place}: {step}");
        }
    }
}
