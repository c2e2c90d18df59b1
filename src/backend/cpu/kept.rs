//! Groups that stand where they were scored, and may go on.

use super::lane_model::LaneModel;

/// A group whose lanes may be advanced further.
pub(super) struct KeptGroup<M: LaneModel> {
    pub(super) state: M::Group,
    pub(super) params: Vec<M::Params>,
    /// Units of budget that its lanes have had.
    pub(super) had: u64,
    /// Of its state.
    pub(super) bytes: u64,
    /// How many slots still point at it.
    pub(super) users: usize,
}

/// All of a trainer's.
pub(super) struct Kept<M: LaneModel> {
    groups: Vec<Option<KeptGroup<M>>>,
    free: Vec<usize>,
    bytes: u64,
}

impl<M: LaneModel> Default for Kept<M> {
    fn default() -> Kept<M> {
        Kept { groups: Vec::new(), free: Vec::new(), bytes: 0 }
    }
}

impl<M: LaneModel> Kept<M> {
    /// Bytes of all states.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a group: its number.
    pub(super) fn insert(&mut self, group: KeptGroup<M>) -> usize {
        self.bytes += group.bytes;
        match self.free.pop() {
            Some(number) => {
                self.groups[number] = Some(group);
                number
            }
            None => {
                self.groups.push(Some(group));
                self.groups.len() - 1
            }
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<&KeptGroup<M>> {
        self.groups.get(number).and_then(Option::as_ref)
    }

    /// Takes a group out, whoever points at it.
    pub(super) fn take(&mut self, number: usize) -> Option<KeptGroup<M>> {
        let group = self.groups.get_mut(number)?.take()?;
        self.bytes -= group.bytes;
        self.free.push(number);
        Some(group)
    }

    /// One slot less points at a group, which is dropped with the last one.
    pub(super) fn leave(&mut self, number: usize) {
        let Some(Some(group)) = self.groups.get_mut(number) else { return };
        group.users -= 1;
        if group.users == 0 {
            drop(self.take(number));
        }
    }
}
