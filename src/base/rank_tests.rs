//! Tests of significance by ranks: Wilcoxon's signed-rank test of two, Friedman's of many, and who of the many is behind.

use super::distributions::{chi_squared_above, normal_above, student_above};
use super::order;

/// Differences up to which [`signed_rank`] counts every choice of signs.
const EXACT: usize = 50;

/// Wilcoxon's signed-rank test, one-sided: how likely positive differences have ranks that add up to so much, or more, if every
/// sign were a coin's toss. Differences of 0 have ranks, which half count as positive (scipy's `zero_method="zsplit"`). Exact,
/// ties included, up to fifty differences, beyond that by the normal approximation. Infinite differences are the largest; NaN
/// counts as 0.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let differences: Vec<f64> =
        differences.iter().map(|difference| if difference.is_nan() { 0.0 } else { *difference }).collect();
    // Twice the ranks, which are whole numbers.
    let ranks: Vec<u64> = ranks(&differences.iter().map(|difference| difference.abs()).collect::<Vec<f64>>());
    let sum = |counts: fn(f64) -> bool| -> u64 {
        differences.iter().zip(&ranks).filter(|(difference, _)| counts(**difference)).map(|(_, rank)| rank).sum()
    };
    let (above, zero) = (sum(|difference| difference > 0.0), sum(|difference| difference == 0.0));
    if differences.len() <= EXACT {
        let signed = differences.iter().zip(&ranks).filter(|(difference, _)| **difference != 0.0);
        return share_of_signs(&signed.map(|(_, rank)| *rank).collect::<Vec<u64>>(), above);
    }
    let n = differences.len() as f64;
    let tied: f64 = ties(&ranks).into_iter().map(|count| count * count * count - count).sum();
    let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - tied / 2.0) / 24.0).sqrt();
    let observed = (above as f64 + zero as f64 / 2.0) / 2.0;
    let z = (observed - n * (n + 1.0) / 4.0) / deviation;
    if z.is_nan() { 1.0 } else { normal_above(z) }
}

/// Of all choices of signs the share in which positive ranks add up to so much or more.
fn share_of_signs(ranks: &[u64], observed: u64) -> f64 {
    let most: u64 = ranks.iter().sum();
    // How many choices have each sum: whole numbers up to 2^50, which are exact.
    let mut choices = vec![0.0; most as usize + 1];
    choices[0] = 1.0;
    let mut reach = 0;
    for rank in ranks.iter().map(|rank| *rank as usize) {
        reach += rank;
        for sum in (rank..=reach).rev() {
            choices[sum] += choices[sum - rank];
        }
    }
    let above: f64 = choices.iter().skip(observed as usize).sum();
    above / choices.iter().sum::<f64>()
}

/// Twice the rank of each value, ascending from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<u64> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|a, b| order::ascending(values[*a], values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut before = 0;
    for equal in places.chunk_by(|a, b| order::ascending(values[*a], values[*b]).is_eq()) {
        let twice = 2 * before + equal.len() as u64 + 1;
        equal.iter().for_each(|place| ranks[*place] = twice);
        before += equal.len() as u64;
    }
    ranks
}

/// How many values share each rank.
fn ties(ranks: &[u64]) -> Vec<f64> {
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|equal| equal.len() as f64).collect()
}

/// Friedman's test of several that were measured in the same blocks, by their ranks within each block, with Conover's comparison
/// of two of them after it (Conover 1999, "Practical Nonparametric Statistics", section 5.8), as irace has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Friedman {
    /// The sum of each one's ranks over the blocks.
    sums: Vec<f64>,
    /// How likely sums that are so far apart are, if the ranks of a block were drawn at random.
    p: f64,
    /// Standard error of a difference of two sums, and the degrees of freedom of its t distribution.
    error: f64,
    degrees: f64,
}

impl Friedman {
    /// Of rows with a value for each block, less is better; two rows and two blocks at least.
    pub fn new(rows: &[&[f64]]) -> Friedman {
        let several = rows.len() as f64;
        let blocks = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        let (mut sums, mut squares) = (vec![0.0; rows.len()], 0.0);
        for block in 0..blocks {
            let values: Vec<f64> = rows.iter().map(|row| row[block]).collect();
            for (sum, rank) in sums.iter_mut().zip(ranks(&values)) {
                let rank = rank as f64 / 2.0;
                *sum += rank;
                squares += rank * rank;
            }
        }
        let blocks = blocks as f64;
        let of_sums: f64 = sums.iter().map(|sum| sum * sum).sum();
        let middle = blocks * several * (several + 1.0) * (several + 1.0) / 4.0;
        // Where all of every block are equal there is nothing to be told apart.
        let statistic = (several - 1.0) * (of_sums - blocks * middle) / (squares - middle);
        let p = if squares > middle { chi_squared_above(statistic, several - 1.0) } else { 1.0 };
        let degrees = (blocks - 1.0) * (several - 1.0);
        let error = (2.0 * (blocks * squares - of_sums).max(0.0) / degrees).sqrt();
        Friedman { sums, p, error, degrees }
    }

    /// How likely differences among all of them are as large as these by chance.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// How likely two sums of ranks are so far apart by chance, two-sided, if the first one is the larger; else 1.
    pub fn behind(&self, one: usize, other: usize) -> f64 {
        let apart = self.sums[one] - self.sums[other];
        match apart > 0.0 {
            // Where every block has the same order, no difference is by chance.
            true if self.error == 0.0 => 0.0,
            true => (2.0 * student_above(apart / self.error, self.degrees)).min(1.0),
            false => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<f64> {
        text.split(' ').map(|cell| cell.parse().unwrap()).collect()
    }

    fn is_close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-10 * b.abs() + 1e-14
    }

    #[test]
    fn tests_by_ranks_are_those_of_scipy() {
        // SciPy 1.17.1, and Conover's comparison written out: tests/fixtures/schedulers/rank_tests.py.
        let (mut pairs, mut many) = (0, 0);
        for line in include_str!("../../tests/fixtures/schedulers/rank_tests.csv").lines().skip(1) {
            let cells: Vec<&str> = line.split(';').collect();
            let expected: f64 = cells[1].parse().unwrap();
            if cells[0] == "wilcoxon" {
                let differences = numbers(cells[3]);
                let found = signed_rank(&differences);
                assert!(is_close(found, expected), "{line}: {found}");
                let turned: Vec<f64> = differences.iter().map(|difference| -difference).collect();
                assert!(expected > 0.4 || signed_rank(&turned) > 0.6, "{line}: the other side is as likely");
                pairs += 1;
            } else {
                let rows: Vec<Vec<f64>> = cells[3].split('|').map(numbers).collect();
                let friedman = Friedman::new(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
                assert!(is_close(friedman.p(), expected), "{line}: {}", friedman.p());
                for (one, behind) in numbers(cells[2]).into_iter().enumerate() {
                    assert!(is_close(friedman.behind(one, 0), behind), "{line}: {one} of {friedman:?}");
                }
                many += 1;
            }
        }
        assert!(pairs > 60 && many > 20, "{pairs}, {many}");
    }

    #[test]
    fn so_few_differences_as_there_are_can_be_so_sure_and_no_surer() {
        for n in 1..=10 {
            assert_eq!(signed_rank(&vec![0.5; n]), 0.5f64.powi(n as i32), "{n} of one size");
            let grown: Vec<f64> = (1..=n).map(|difference| difference as f64).collect();
            assert_eq!(signed_rank(&grown), 0.5f64.powi(n as i32), "{n} of different sizes");
        }
        assert_eq!(signed_rank(&[]), 1.0);
        assert_eq!(signed_rank(&[0.0, 0.0]), 1.0);
        // By the normal approximation half of what is nothing is on either side.
        assert_eq!(signed_rank(&[0.0; 60]), 0.5);
    }

    #[test]
    fn what_is_no_number_decides_nothing() {
        assert_eq!(signed_rank(&[f64::INFINITY, 1.0, 2.0]), 0.125);
        assert_eq!(signed_rank(&[f64::NAN, 1.0]), signed_rank(&[0.0, 1.0]));
        let (low, high) = ([1.0, 1.0, 1.0], [f64::INFINITY; 3]);
        let friedman = Friedman::new(&[&low, &high, &high]);
        assert!(friedman.behind(1, 0) < 0.01 && friedman.behind(1, 2) == 1.0 && friedman.behind(0, 1) == 1.0);
        assert_eq!(Friedman::new(&[&high, &high, &high]).p(), 1.0);
    }
}
