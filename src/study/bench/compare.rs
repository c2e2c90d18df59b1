//! What is said of two backends: whether they gave the same scores, and from how many lanes on one is the faster.

use crate::backend::LaneStatus;
use crate::models::Agreement;
use serde::Serialize;

/// How one lane ended.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneScores {
    /// How its training ended.
    pub status: LaneStatus,
    /// Its training score, then one a row set.
    pub scores: Vec<f64>,
}

/// Whether two backends gave the same scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Lanes that were compared.
    pub lanes: usize,
    /// Units of budget that they had.
    pub budget: u64,
    /// Largest relative difference of two scores.
    pub largest_difference: f64,
    /// What the model allows.
    pub tolerance: f64,
    /// Lanes that ended in different ways, or of which only one backend has a score.
    pub unlike: usize,
    /// Whether nothing differs by more.
    pub agrees: bool,
}

/// How far scores are apart after the full budget: nothing to pass or fail, since training amplifies roundings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Lanes that both trained to the end.
    pub lanes: usize,
    /// Half of the lanes' scores differ by less.
    pub median_difference: f64,
    /// None differs by more.
    pub largest_difference: f64,
}

/// From how many lanes on the GPU is the faster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossover {
    /// The rates cross here, between two measured numbers of lanes; above it the GPU was ahead at each.
    At(f64),
    /// The GPU was ahead at every number of lanes that both trained, of which this is the least.
    GpuFrom(usize),
    /// The CPU was ahead at the largest number of lanes that both trained.
    CpuUpTo(usize),
}

/// Differences count relative to scores of at least this size, so that scores near zero do not blow them up.
const LEAST_SCORE: f64 = 1e-3;

/// Compares lane by lane, as far as both sides go.
pub fn compare(cpu: &[LaneScores], gpu: &[LaneScores], agreement: Agreement) -> Comparison {
    let differences: Vec<Option<f64>> = cpu.iter().zip(gpu).map(|(cpu, gpu)| difference(cpu, gpu)).collect();
    let largest_difference = differences.iter().flatten().copied().fold(0.0, f64::max);
    let unlike = differences.iter().filter(|difference| difference.is_none()).count();
    Comparison {
        lanes: differences.len(),
        budget: agreement.budget,
        largest_difference,
        tolerance: agreement.tolerance,
        unlike,
        agrees: !differences.is_empty() && unlike == 0 && largest_difference <= agreement.tolerance,
    }
}

/// How far the lanes that both trained are apart; `None` where there is none.
pub fn drift(cpu: &[LaneScores], gpu: &[LaneScores]) -> Option<Drift> {
    let mut differences: Vec<f64> = cpu.iter().zip(gpu).filter_map(|(cpu, gpu)| difference(cpu, gpu)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let largest_difference = *differences.last()?;
    let median_difference = *differences.get(differences.len() / 2)?;
    Some(Drift { lanes: differences.len(), median_difference, largest_difference })
}

/// The largest relative difference of a lane's scores; `None` if the lanes cannot be compared. Two lanes without a
/// score agree.
fn difference(cpu: &LaneScores, gpu: &LaneScores) -> Option<f64> {
    if cpu.status != gpu.status || cpu.scores.len() != gpu.scores.len() {
        return None;
    }
    let mut largest = 0.0f64;
    for (a, b) in cpu.scores.iter().zip(&gpu.scores) {
        match (a.is_finite(), b.is_finite()) {
            (true, true) => largest = largest.max((a - b).abs() / a.abs().max(LEAST_SCORE)),
            (false, false) => {}
            _ => return None,
        }
    }
    Some(largest)
}

/// Where the GPU overtakes the CPU, from (lanes, lanes a second) of each, least lanes first. Between two numbers of
/// lanes, rates are taken to be straight lines on logarithmic scales. `None` where no number of lanes was measured on
/// both.
pub fn crossover(cpu: &[(usize, f64)], gpu: &[(usize, f64)]) -> Option<Crossover> {
    // (lanes, ln of how much faster the GPU is) where both were measured
    let leads: Vec<(usize, f64)> = cpu
        .iter()
        .filter_map(|(lanes, cpu)| {
            let (_, gpu) = gpu.iter().find(|(other, _)| other == lanes)?;
            Some((*lanes, (gpu / cpu).ln()))
        })
        .collect();
    let (most, _) = *leads.last()?;
    match leads.iter().rposition(|(_, lead)| *lead <= 0.0) {
        None => Some(Crossover::GpuFrom(leads.first()?.0)),
        Some(behind) => Some(match leads.get(behind + 1) {
            None => Crossover::CpuUpTo(most),
            Some((above, ahead)) => {
                let (below, lag) = leads[behind];
                let share = -lag / (ahead - lag);
                let (below, above) = ((below as f64).ln(), (*above as f64).ln());
                Crossover::At((below + share * (above - below)).exp())
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cross_where_lines_on_logarithmic_scales_do() {
        let cpu = [(10, 1000.0), (100, 1000.0), (1000, 1000.0)];
        // Ten times behind at 100 lanes, ten times ahead at 1,000: even in the middle of the two decades' border.
        let gpu = [(10, 10.0), (100, 100.0), (1000, 10_000.0)];
        let Some(Crossover::At(lanes)) = crossover(&cpu, &gpu) else { panic!("they cross") };
        assert!((lanes - 10f64.powf(2.5)).abs() < 1e-9 * lanes, "{lanes}");
        // Nearer to where they are nearly even.
        let Some(Crossover::At(lanes)) = crossover(&cpu, &[(100, 500.0), (1000, 8000.0)]) else { panic!("they cross") };
        assert!((lanes - 10f64.powf(2.25)).abs() < 1e-9 * lanes, "{lanes}");
    }

    #[test]
    fn without_a_crossing_the_faster_one_is_named() {
        let cpu = [(10, 100.0), (100, 200.0), (1000, 300.0)];
        assert_eq!(crossover(&cpu, &[(10, 5.0), (100, 6.0)]), Some(Crossover::CpuUpTo(100)));
        assert_eq!(crossover(&cpu, &[(100, 201.0), (1000, 900.0)]), Some(Crossover::GpuFrom(100)));
        // Ahead at a few lanes only is not ahead.
        assert_eq!(crossover(&cpu, &[(10, 101.0), (100, 6.0)]), Some(Crossover::CpuUpTo(100)));
        assert_eq!(crossover(&cpu, &[(20, 5.0)]), None);
        assert_eq!(crossover(&[], &[]), None);
    }

    fn lane(status: LaneStatus, score: f64) -> LaneScores {
        LaneScores { status, scores: vec![0.5, score] }
    }

    #[test]
    fn scores_agree_within_the_tolerance_alone() {
        let agreement = Agreement { budget: 2, tolerance: 1e-4 };
        let cpu = [lane(LaneStatus::Trained, 2.0), lane(LaneStatus::NotFinite, f64::NAN)];
        assert!(compare(&cpu, &cpu, agreement).agrees);
        let near = [lane(LaneStatus::Trained, 2.0 + 1.9e-4), cpu[1].clone()];
        let far = [lane(LaneStatus::Trained, 2.0 + 2.1e-4), cpu[1].clone()];
        assert!(compare(&cpu, &near, agreement).agrees);
        assert!(!compare(&cpu, &far, agreement).agrees);
        let dead = [lane(LaneStatus::NotFinite, f64::NAN), cpu[1].clone()];
        let compared = compare(&cpu, &dead, agreement);
        assert!(!compared.agrees && compared.unlike == 1);
        assert!(!compare(&[], &[], agreement).agrees, "nothing compared is no agreement");
    }

    #[test]
    fn drift_is_over_the_lanes_that_both_trained() {
        let cpu = [1.0, 1.0, 1.0, 1.0].map(|score| lane(LaneStatus::Trained, score));
        let gpu = [1.0, 1.5, 1.25].map(|score| lane(LaneStatus::Trained, score));
        let drift = drift(&cpu, &gpu).unwrap();
        assert_eq!(drift, Drift { lanes: 3, median_difference: 0.25, largest_difference: 0.5 });
    }
}
