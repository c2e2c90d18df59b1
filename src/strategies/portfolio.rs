//! Good settings known beforehand: the defaults, what the user names, and the winners of earlier studies. Then another method
//! takes over.

use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::registry::Named;
use crate::space::{Points, Space};
use std::sync::Arc;

/// The registry entry.
pub struct Portfolio;

impl Named for Portfolio {
    fn name(&self) -> &'static str {
        "portfolio"
    }
    fn summary(&self) -> &'static str {
        "the defaults, points of the user's, winners of earlier studies; then hands over"
    }
}

impl StrategyEntry for Portfolio {
    fn is_adaptive(&self) -> bool {
        false
    }
    fn comes_whole(&self) -> bool {
        true
    }
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let mut rows = space.starts();
        for point in &options.points {
            if !rows.iter().any(|row| super::generations::is_same(row, point)) {
                rows.push(point.clone());
            }
        }
        Box::new(Known { rows, width: space.parameters.len() })
    }
}

struct Known {
    rows: Vec<Vec<f64>>,
    width: usize,
}

impl Strategy for Known {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let rest = usize::try_from(first).ok().and_then(|first| self.rows.get(first..)).unwrap_or(&[]);
        if rest.is_empty() {
            return Ask::Done;
        }
        let mut points = Points::new(self.width);
        rest.iter().take(n).for_each(|row| points.push(row));
        Ask::Proposals(points)
    }

    fn tell(&mut self, _outcomes: &[Outcome]) {}

    fn size(&self) -> Option<u64> {
        Some(self.rows.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::{box_space, options};
    use super::*;

    #[test]
    fn each_known_point_comes_once_and_then_there_is_no_more() {
        let space = Arc::new(box_space(2));
        let points = vec![vec![1.0, 2.0], space.defaults(), vec![1.0, 2.0], vec![0.5, 0.0]];
        let mut known = Portfolio.open(space.clone(), &StrategyOptions { points, ..options(0, 100) });
        assert_eq!(known.size(), Some(3));
        let Ask::Proposals(first) = known.ask(0, 2) else { panic!("three are known") };
        let Ask::Proposals(second) = known.ask(2, 2) else { panic!("one is left") };
        let rows: Vec<&[f64]> = first.rows().chain(second.rows()).collect();
        assert_eq!(rows, [&space.defaults()[..], &[1.0, 2.0], &[0.5, 0.0]]);
        assert_eq!(known.ask(3, 2), Ask::Done);
    }
}
