//! How much of a batch one dispatch does: no dispatch over 100 ms, so that a desktop stays usable and no watchdog
//! fires; not much under it either, since each one costs a round trip.
//!
//! A dispatch takes some lanes through some ticks. First it grows to all lanes, then to more ticks; where even one tick
//! of all lanes takes too long, it has fewer lanes. One tick of one lane is never cut: the limit ends there. What a
//! dispatch takes foretells what the next one does only where ticks are alike, which is the models' part.

use super::Provoked;

/// No dispatch should take longer, in seconds.
pub const LONGEST_DISPATCH: f64 = 0.1;
/// What the next dispatch aims at, as a share of the limit: half of it leaves room for lanes that slow down.
const AIM: f64 = 0.5;
/// A dispatch does at most so many times as much as the one before: where that one had less work than others, such as an
/// epoch's last rows, twice half of the limit still keeps it.
const GROWTH: f64 = 2.0;
/// Lanes of a batch's first dispatch: few enough that one tick of wide lanes keeps the limit on small devices; large ones
/// are filled a few dispatches later.
const FIRST_LANES: u64 = 16;

/// Cuts a batch into dispatches by the times that it measures.
#[derive(Debug, Clone)]
pub(crate) struct Slicer {
    ticks: u64,
    lanes: u64,
    most_ticks: u64,
    most_lanes: u64,
}

impl Slicer {
    /// For a batch of `lanes`, no dispatch over `most_ticks`; a test may say how many ticks it begins with, and bound both
    /// sizes.
    pub(crate) fn new(lanes: u64, most_ticks: u64, provoked: &Provoked) -> Slicer {
        let bounded = |bound: u64, most: u64| if bound == 0 { most } else { bound.min(most) };
        let most_lanes = bounded(provoked.most_lanes, lanes.max(1));
        let most_ticks = bounded(provoked.largest_slice, most_ticks).max(1);
        let (ticks, lanes) = (provoked.largest_slice.clamp(1, most_ticks), most_lanes.min(FIRST_LANES));
        Slicer { ticks, lanes, most_ticks, most_lanes }
    }

    /// Ticks of the next slice, through which every lane is taken.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Lanes of the next dispatch.
    pub(crate) fn lanes(&self) -> u64 {
        self.lanes
    }

    /// Learns what a dispatch of `lanes` through `ticks` took.
    pub(crate) fn record(&mut self, ticks: u64, lanes: u64, seconds: f64) {
        let room = if seconds > 0.0 { (AIM * LONGEST_DISPATCH / seconds).min(GROWTH) } else { GROWTH };
        let scaled = |n: u64| ((n as f64 * room) as u64).max(1);
        if self.lanes < self.most_lanes || (ticks == 1 && seconds > LONGEST_DISPATCH) {
            // The rest of a batch has fewer lanes than a dispatch may have: it says nothing against more.
            let is_rest = lanes < self.lanes && room > 1.0;
            self.lanes = if is_rest { self.lanes } else { scaled(lanes).min(self.most_lanes) };
            self.ticks = 1;
        } else {
            self.ticks = scaled(ticks).min(self.most_ticks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes after many dispatches of a device that takes so long for a tick of a lane.
    fn settled(lanes: u64, seconds: f64) -> (u64, u64) {
        let mut slicer = Slicer::new(lanes, u64::MAX, &Provoked::default());
        for _ in 0..40 {
            let (ticks, lanes) = (slicer.ticks(), slicer.lanes());
            slicer.record(ticks, lanes, (ticks * lanes) as f64 * seconds);
        }
        (slicer.ticks(), slicer.lanes())
    }

    #[test]
    fn dispatches_grow_to_half_the_limit_and_shrink_at_once() {
        assert_eq!(settled(10, 1e-5), (500, 10));
        assert_eq!(settled(2000, 1e-6), (25, 2000));
        let mut slicer = Slicer::new(10, u64::MAX, &Provoked::default());
        slicer.record(500, 10, 1.0);
        assert_eq!(slicer.ticks(), 25);
    }

    #[test]
    fn one_slice_with_little_work_does_not_lead_over_the_limit() {
        // Each tenth tick is the last of an epoch, which takes next to no time.
        let seconds = |tick: u64| if tick % 10 == 9 { 1e-6 } else { 0.04 };
        let mut slicer = Slicer::new(16, u64::MAX, &Provoked::default());
        let mut at = 0;
        while at < 200 {
            let slice = at..at + slicer.ticks();
            let taken: f64 = slice.clone().map(seconds).sum();
            assert!(taken <= LONGEST_DISPATCH, "{slice:?}: {taken} s");
            slicer.record(slicer.ticks(), 16, taken);
            at = slice.end;
        }
    }

    #[test]
    fn a_dispatch_has_fewer_lanes_where_one_tick_of_all_takes_too_long() {
        let (ticks, lanes) = settled(2000, 1e-3);
        assert_eq!(ticks, 1);
        assert!((40..=100).contains(&lanes), "{lanes}");
        let mut slicer = Slicer::new(100, u64::MAX, &Provoked::default());
        slicer.record(1, 100, 1.0);
        assert_eq!(slicer.lanes(), 5);
        slicer.record(1, 3, 0.02);
        assert_eq!(slicer.lanes(), 5, "the rest of a batch is no measure");
    }

    #[test]
    fn a_dispatch_has_a_tick_at_least() {
        assert_eq!(Slicer::new(1, 0, &Provoked::default()).ticks(), 1);
    }

    #[test]
    fn a_test_may_bound_both_sizes() {
        let provoked = Provoked { largest_slice: 3, most_lanes: 2, ..Provoked::default() };
        let mut slicer = Slicer::new(100, u64::MAX, &provoked);
        assert_eq!((slicer.ticks(), slicer.lanes()), (3, 2));
        slicer.record(3, 2, 0.0);
        assert_eq!((slicer.ticks(), slicer.lanes()), (3, 2));
    }
}
