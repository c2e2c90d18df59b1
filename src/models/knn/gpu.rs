//! Neighbours on the GPU: a prologue makes the lists, a workgroup a row, for shaders/models/knn/; lanes read their heads.
//!
//! Rows are uploaded in units of a power of two, which turns no bit of a distance but its exponent, so that squares stay in
//! f32's range. Distances that f32 does not tell apart are measured in pairs of f32.

use super::distance::{self, Distance};
use super::vote::Labels;
use super::{KnnParams, distances, most_neighbours, predict};
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, DeviceSet, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Prologue, Role, SETS,
    padded, wgsl_struct, with_lane_header, words,
};
use crate::backend::{BackendError, LaneStatus, Weights};
use crate::data::{Problem, Task};
use crate::space::Space;
use ndarray::ArrayView2;
use std::sync::Arc;

/// Threads of a workgroup.
const WORKGROUP: u32 = 128;
/// Rows that scoring predicts at a time.
const TILE_ROWS: u32 = 256;
/// Entries of a pool: 12 KiB of workgroup memory.
const POOL: u32 = 1024;
/// The most neighbours of a list: a workgroup's entries find room beside it, and as many again before they are ranked.
const LARGEST_LIST: u32 = POOL - 2 * WORKGROUP;

wgsl_struct! {
    /// The lists of one set to score by one kind of distance.
    pub struct KnnSearch {
        /// The workgroup that makes the first list.
        pub first: u32,
        /// Lists.
        pub rows: u32,
        /// First word of their rows in x.
        pub x: u32,
        /// First entry of their reciprocal lengths.
        pub lengths: u32,
        /// Training rows.
        pub train_rows: u32,
        /// First word of the training rows in x.
        pub train_x: u32,
        /// First entry of their reciprocal lengths.
        pub train_lengths: u32,
        /// First label of the training rows.
        pub labels: u32,
        /// Columns of x.
        pub features: u32,
        /// Neighbours of a list.
        pub most: u32,
        /// First entry in the lists.
        pub list: u32,
        /// Code of the distance.
        pub distance: u32,
    }
}

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct KnnLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Classes, or 1.
        pub outputs: u32,
        /// 1 for classes.
        pub is_classifier: u32,
        /// What it is scored on; of the training rows none.
        pub sets: LaneSets,
        /// First entry of each set's lists.
        pub lists: [u32; SETS],
        /// Neighbours that count.
        pub neighbours: u32,
        /// 1 where they count by their distance.
        pub is_by_distance: u32,
        /// Code of the distance, for who reads the weights.
        pub distance: u32,
        /// Neighbours that were asked for, for who reads the weights.
        pub asked: u32,
        /// The fold's index, for who reads the weights.
        pub fold: u32,
        /// What labels are less than targets.
        pub shift: f32,
    }
}

/// Neighbours opened on a GPU.
pub struct KnnPlan {
    space: Space,
    problem: Arc<Problem>,
    scoring: DeviceScoring,
    rows: DeviceRows,
    labels: Vec<u32>,
    lengths: Vec<u32>,
    searches: Vec<KnnSearch>,
    /// By fold and code of the distance: first entry of each set's lists; none where the space has no such distance.
    lists: Vec<[Option<Vec<u32>>; Distance::ALL.len()]>,
    entries: u64,
    workgroups: u32,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

fn search_kernel() -> Kernel {
    let sources = [
        include_str!("../../../shaders/shared/held.wgsl"),
        include_str!("../../../shaders/shared/double.wgsl"),
        include_str!("../../../shaders/shared/prologue.wgsl"),
        include_str!("../../../shaders/models/knn/search.wgsl"),
    ];
    with_lane_header(Kernel::new("knn_search", "search", &sources))
        .constant("WORKGROUP", WORKGROUP)
        .constant("POOL", POOL)
        .constant("EUCLIDEAN", Distance::Euclidean.code() as u32)
        .constant("MANHATTAN", Distance::Manhattan.code() as u32)
        .constant("COSINE", Distance::Cosine.code() as u32)
        .float_constant("ZERO_COSINE", distance::ZERO_COSINE as f32)
        .float_constant("FURTHEST", f32::MAX)
        .layout::<KnnSearch>()
        .bind(&[
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "x", "array<f32>"),
            Binding::new(Role::Shared(2), "labels", "array<u32>"),
            Binding::new(Role::Shared(3), "searches", "array<KnnSearch>"),
            Binding::new(Role::Shared(4), "lengths", "array<vec2<f32>>"),
            Binding::new(Role::Prepare(0), "lists", "array<vec2<u32>>"),
        ])
}

/// The kernels, for the trainer and for the translation tests.
pub fn kernels() -> Vec<Kernel> {
    let kernel = |name, entry| {
        let sources = [
            include_str!("../../../shaders/shared/math.wgsl"),
            include_str!("../../../shaders/shared/metric.wgsl"),
            include_str!("../../../shaders/shared/held.wgsl"),
            include_str!("../../../shaders/shared/lane.wgsl"),
            include_str!("../../../shaders/shared/train.wgsl"),
            include_str!("../../../shaders/shared/score.wgsl"),
            include_str!("../../../shaders/models/knn/vote.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS).layout::<KnnLane>().bind(&[
            Binding::new(Role::Lanes, "lanes", "array<KnnLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<f32>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(1), "y", "array<u32>"),
            Binding::new(Role::Prepared(0), "lists", "array<vec2<u32>>"),
        ])
    };
    vec![kernel("knn_train", "train"), kernel("knn_score", "score"), search_kernel()]
}

impl KnnPlan {
    /// Lays a problem out; refuses lists that are too long for a workgroup.
    pub fn new(space: Space, problem: Arc<Problem>) -> Result<KnnPlan, BackendError> {
        let longest = problem.folds.iter().map(|fold| fold.train.y.len()).max().unwrap_or(0);
        let most = most_neighbours(&space).min(longest);
        if most > LARGEST_LIST as usize {
            return Err(BackendError::Unsuited {
                model: "knn",
                reason: format!("{most} neighbours are more than the {LARGEST_LIST} that a GPU's kernels hold"),
                alternative: format!("Search k up to {LARGEST_LIST}, or on the processor: --backend cpu"),
            });
        }
        let mut kernels = kernels();
        kernels.truncate(2);
        let score = kernels.split_off(1);
        let units: Vec<f32> =
            problem.folds.iter().map(|fold| unit(fold.row_sets().map(|rows| rows.x.view()))).collect();
        let rows = DeviceRows::pack(&problem, |fold, rows| {
            let is_train = std::ptr::eq(rows, &problem.folds[fold].train);
            let x = if is_train { rows.x.t() } else { rows.x.view() };
            x.iter().map(|x| x * units[fold]).collect()
        });
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        let mut plan = KnnPlan {
            space,
            problem: problem.clone(),
            scoring,
            rows,
            labels: Vec::new(),
            lengths: Vec::new(),
            searches: Vec::new(),
            lists: Vec::new(),
            entries: 0,
            workgroups: 0,
            train: kernels,
            score,
        };
        for (fold, unit) in units.into_iter().enumerate() {
            plan.add_fold(fold, f64::from(unit), most);
        }
        Ok(plan)
    }

    fn add_fold(&mut self, index: usize, unit: f64, most: usize) {
        let fold = self.problem.folds[index].clone();
        let kinds = distances(&self.space);
        let first_label = self.labels.len() as u32;
        match Labels::of(&fold) {
            Labels::Classes(codes, _) => self.labels.extend(codes),
            Labels::Values(values, _) => self.labels.extend(values.into_iter().map(f32::to_bits)),
        }
        let lengths: Vec<u32> = match kinds.contains(&Distance::Cosine) {
            true => fold.row_sets().map(|rows| self.add_lengths(rows.x.view(), unit)).collect(),
            false => vec![0; fold.evals.len() + 1],
        };
        let sets = self.rows.sets[index].clone();
        let mut lists: [Option<Vec<u32>>; Distance::ALL.len()] = Default::default();
        for distance in kinds {
            // The training rows have no lists.
            let mut firsts = vec![0];
            for (set, lengths_at) in sets.iter().zip(&lengths).skip(1) {
                firsts.push(self.entries as u32);
                let search = KnnSearch {
                    first: self.workgroups,
                    rows: set.rows,
                    x: set.x,
                    lengths: *lengths_at,
                    train_rows: sets[0].rows,
                    train_x: sets[0].x,
                    train_lengths: lengths[0],
                    labels: first_label,
                    features: fold.train.x.ncols() as u32,
                    most: most.min(fold.train.y.len()) as u32,
                    list: self.entries as u32,
                    distance: distance.code() as u32,
                };
                self.entries += u64::from(search.most) * u64::from(search.rows);
                self.workgroups += search.rows;
                self.searches.push(search);
            }
            lists[distance.code()] = Some(firsts);
        }
        self.lists.push(lists);
    }

    /// One by the length of each row, as pairs of f32; 0 for a row of zeros, whose cosine with any is then 0. Gives the
    /// first entry.
    fn add_lengths(&mut self, x: ArrayView2<'_, f32>, unit: f64) -> u32 {
        let first = self.lengths.len() as u32 / 2;
        for square in distance::squares(x) {
            let reciprocal = if square > 0.0 { 1.0 / (square.sqrt() * unit) } else { 0.0 };
            let high = reciprocal as f32;
            self.lengths.extend([high, (reciprocal - f64::from(high)) as f32].map(f32::to_bits));
        }
        first
    }
}

/// A power of two by which the largest of some numbers comes near 1.
fn unit<'a>(sets: impl Iterator<Item = ArrayView2<'a, f32>>) -> f32 {
    let largest = sets.flat_map(|x| x.iter().map(|x| x.abs()).reduce(f32::max)).fold(0.0, f32::max);
    let exponent = if largest > 0.0 { -libm::floor(libm::log2(f64::from(largest))) } else { 0.0 };
    libm::exp2(exponent.clamp(-126.0, 126.0)) as f32
}

impl GpuPlan for KnnPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        let searches = self.searches.iter().flat_map(words).collect();
        vec![self.rows.x.clone(), self.rows.y.clone(), self.labels.clone(), searches, self.lengths.clone()]
    }

    fn prepared(&self) -> Vec<u64> {
        vec![2 * self.entries]
    }

    fn prologue(&self) -> Vec<Prologue> {
        vec![Prologue { kernel: search_kernel(), workgroups: self.workgroups }]
    }

    fn lane(&self, point: &[f64], fold: usize) -> LanePlan {
        let params = KnnParams::read(&self.space, point);
        let (problem, sets) = (&self.problem.folds[fold], &self.rows.sets[fold]);
        let neighbours = params.neighbours.min(problem.train.y.len());
        let outputs = self.problem.outputs;
        // Of the training rows none is scored.
        let scored: Vec<DeviceSet> = sets
            .iter()
            .enumerate()
            .map(|(set, rows)| if set == 0 { DeviceSet { rows: 0, ..*rows } } else { *rows })
            .collect();
        let lists = self.lists[fold][params.distance.code()].iter().flatten().copied();
        let is_classifier = self.problem.task == Task::Classification;
        let lane = KnnLane {
            outputs: outputs as u32,
            is_classifier: u32::from(is_classifier),
            sets: self.scoring.lane_sets(fold, &scored),
            lists: padded(lists),
            neighbours: neighbours as u32,
            is_by_distance: u32::from(params.is_by_distance),
            distance: params.distance.code() as u32,
            asked: params.neighbours as u32,
            fold: fold as u32,
            shift: if is_classifier { 0.0 } else { problem.target.shift },
            ..KnnLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: u64::from(TILE_ROWS) * outputs as u64,
            result_words: self.scoring.result_words(fold),
            cost: problem.evals.iter().map(|rows| rows.y.len()).sum::<usize>() as f64 * (neighbours + outputs) as f64,
        }
    }

    fn score_units(&self) -> u64 {
        self.scoring.eval_units()
    }

    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }

    fn can_converge(&self) -> bool {
        true
    }

    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        (f64::NAN, self.scoring.scores(fold, results).1)
    }

    fn weights(&self, descriptor: &[u32], _: &[u32]) -> Weights {
        let lane: KnnLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let params = KnnParams {
            neighbours: lane.asked as usize,
            is_by_distance: lane.is_by_distance == 1,
            distance: Distance::ALL[lane.distance as usize],
        };
        predict::weights(&self.problem.folds[lane.fold as usize], &params)
    }
}
