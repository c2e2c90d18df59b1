//! How much of a batch one dispatch does: no dispatch over 100 ms, so that a desktop stays usable and no watchdog
//! fires; not much under it either, since each one costs a round trip.

/// No dispatch should take longer, in seconds.
pub const LONGEST_DISPATCH: f64 = 0.1;
/// What the next dispatch aims at, in seconds: half of the limit leaves room for lanes that slow down.
const AIM: f64 = 0.5 * LONGEST_DISPATCH;
/// A dispatch is at most so many times as long as the one before.
const GROWTH: u64 = 4;

/// Cuts a batch into dispatches by the times that it measures.
#[derive(Debug, Clone)]
pub struct Slicer {
    next: u64,
    largest: u64,
}

impl Slicer {
    /// Starts with `first` ticks. No slice has more than `largest` ticks; 0 sets no bound.
    pub fn new(first: u64, largest: u64) -> Slicer {
        let largest = if largest == 0 { u64::MAX } else { largest };
        Slicer { next: first.clamp(1, largest), largest }
    }

    /// Ticks of the next dispatch.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Learns what a dispatch of `ticks` took.
    pub fn record(&mut self, ticks: u64, seconds: f64) {
        let by_time = if seconds > 0.0 { (ticks as f64 * AIM / seconds) as u64 } else { u64::MAX };
        self.next = by_time.clamp(1, ticks.saturating_mul(GROWTH)).min(self.largest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispatches_grow_to_half_the_limit_and_shrink_at_once() {
        let mut slicer = Slicer::new(1, 0);
        let second_a_tick = 1e-4;
        for _ in 0..20 {
            let ticks = slicer.next();
            slicer.record(ticks, ticks as f64 * second_a_tick);
        }
        assert_eq!(slicer.next(), 500);
        slicer.record(500, 500.0 * 20.0 * second_a_tick);
        assert_eq!(slicer.next(), 25);
    }

    #[test]
    fn a_slice_keeps_its_bounds() {
        let mut slicer = Slicer::new(1, 3);
        slicer.record(1, 0.0);
        assert_eq!(slicer.next(), 3);
        slicer.record(3, 1e9);
        assert_eq!(slicer.next(), 1);
    }
}
