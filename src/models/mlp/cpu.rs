//! The perceptron on the CPU: groups of up to sixteen networks of one fold, each group by one of two walks.

use super::networks::{Networks, Walk};
use super::recipe::{MlpParams, row_weights};
use super::{MlpLanes, alone, together};
use crate::backend::cpu::simd::{LANES, Lanes, Level, dispatch};
use crate::backend::cpu::sparse::SparseRows;
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{WeightArray, Weights, state};
use crate::base::random::Key;
use crate::data::metrics::RowTerm;
use crate::data::{Affine, Fold, Target};
use crate::models::hypergradient::Features;
use crate::models::hypergradient::mlp::{NAMES, Replayed, Targets, Training, replay_bytes};
use crate::models::slopes;
use ndarray::Array2;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are predicted at a time: as few as in a minibatch, so that activations stay in the cache.
pub const PREDICT_BLOCK: usize = 32;
/// Where a smaller share of the features is not zero, only that is multiplied. Measured on two cores of a Sapphire Rapids, networks
/// of 64 units on indicators: with shares of an eighth and a fifth 1.4 times as fast, with a quarter 1.02 to 1.07 times.
const SPARSE: f64 = 0.25;
/// Where training again in f64 ends further from a lane's weights, as a share of their size, rounding decides what the lane
/// learns, and its slopes say nothing.
const MOST_DRIFT: f64 = 0.01;

/// A fold's training rows, its regression targets scaled.
pub struct MlpFold {
    fold: Arc<Fold>,
    pub key: Key,
    pub rows: usize,
    pub features: usize,
    pub x: Inputs,
    pub y: FoldTargets,
    pub outputs: usize,
    pub target: Affine,
    /// What rows count for, without and with classes balanced; `None` where all count alike.
    weights: [Option<Vec<f32>>; 2],
}

/// Features of training rows.
pub enum Inputs {
    Dense(DenseRows),
    /// Zero for the most part.
    Sparse(SparseRows),
}

/// `[rows, columns]`, with zeros up to whole vectors.
pub struct DenseRows {
    values: Vec<f32>,
    columns: usize,
}

impl DenseRows {
    fn of(x: &Array2<f32>) -> DenseRows {
        let (rows, features) = x.dim();
        let columns = features.next_multiple_of(LANES);
        let mut values = vec![0.0; rows * columns];
        for (to, from) in values.chunks_exact_mut(columns).zip(x.rows()) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
        DenseRows { values, columns }
    }

    pub fn row(&self, row: u32) -> &[f32] {
        &self.values[row as usize * self.columns..][..self.columns]
    }
}

impl Inputs {
    fn of(x: &Array2<f32>) -> Inputs {
        let values = x.iter().filter(|value| **value != 0.0).count();
        if (values as f64) < SPARSE * x.len() as f64 {
            Inputs::Sparse(SparseRows::of(x.rows().into_iter().filter_map(|row| row.to_slice())))
        } else {
            Inputs::Dense(DenseRows::of(x))
        }
    }
}

/// What training rows count for in each lane.
pub struct RowWeights<'a>([Option<&'a [f32]>; LANES]);

impl RowWeights<'_> {
    /// What a row counts for in each lane.
    pub fn of(&self, row: u32) -> Lanes {
        Lanes(self.0.map(|weights| weights.map_or(1.0, |weights| weights[row as usize])))
    }
}

/// Training targets as the loss wants them.
pub enum FoldTargets {
    /// Class codes.
    Classes(Vec<u32>),
    /// Scaled values.
    Values(Vec<f32>),
}

impl MlpFold {
    /// What training rows count for in some lanes; `None` where all count alike in all of them.
    pub fn weights(&self, params: &[MlpParams]) -> Option<RowWeights<'_>> {
        let mut of_lane = [None; LANES];
        for (of_lane, params) in of_lane.iter_mut().zip(params) {
            *of_lane = self.weights[usize::from(params.is_balanced)].as_deref();
        }
        of_lane.iter().any(Option::is_some).then_some(RowWeights(of_lane))
    }
}

impl FoldTargets {
    /// The targets of a minibatch's rows, into whichever of the two they belong.
    pub fn gather(&self, order: &[u32], classes: &mut [u32], values: &mut [f32]) {
        match self {
            FoldTargets::Classes(codes) => {
                classes.iter_mut().zip(order).for_each(|(to, &row)| *to = codes[row as usize]);
            }
            FoldTargets::Values(targets) => {
                values.iter_mut().zip(order).for_each(|(to, &row)| *to = targets[row as usize]);
            }
        }
    }
}

/// Up to sixteen networks and how far they have come.
pub struct Group {
    params: Vec<MlpParams>,
    networks: Networks,
    epochs: u64,
    /// The lane that was gone through again last, as long as row sets are left to score it on.
    replayed: Mutex<Option<(usize, Replayed)>>,
}

impl Group {
    fn new(params: Vec<MlpParams>, networks: Networks, epochs: u64) -> Group {
        Group { params, networks, epochs, replayed: Mutex::new(None) }
    }
}

impl LaneModel for MlpLanes {
    type Params = MlpParams;
    type Fold = MlpFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> MlpParams {
        MlpParams::read(&self.space, point)
    }

    fn key(&self, params: &MlpParams) -> GroupKey {
        // Relu last: groups without another activation take a shorter path.
        GroupKey {
            step: [params.batch, params.layers],
            likeness: [params.hidden[0], params.hidden[1], params.hidden[2], params.activation as u32],
        }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> MlpFold {
        let (rows, features) = fold.train.x.dim();
        let Affine { shift, scale } = fold.target;
        let y = match &fold.train.y {
            Target::Classes { codes, .. } => FoldTargets::Classes(codes.clone()),
            Target::Values(values) => FoldTargets::Values(values.iter().map(|y| (y - shift) / scale).collect()),
        };
        let outputs = fold.train.y.outputs();
        let weights = [false, true].map(|is_balanced| row_weights(&fold.train, is_balanced));
        MlpFold {
            fold: fold.clone(),
            key: fold.key,
            rows,
            features,
            x: Inputs::of(&fold.train.x),
            y,
            outputs,
            target: fold.target,
            weights,
        }
    }

    fn slope_bytes(&self, fold: &MlpFold, lanes: &[MlpParams]) -> u64 {
        let evals: usize = fold.fold.row_sets().skip(1).map(|rows| rows.x.nrows()).sum();
        lanes.iter().map(|lane| replay_bytes(lane, fold.features, fold.outputs, evals) as u64).max().unwrap_or(0)
    }

    fn bytes(&self, fold: &MlpFold, lanes: &[MlpParams]) -> u64 {
        let walk = Walk::choose(lanes, fold.features, fold.outputs);
        let networks = if walk == Walk::Together { lanes.len() } else { 1 };
        // A walk alone has one network's activations at a time.
        let (mut weights, mut activations) = (0, 0);
        for lanes in lanes.chunks(networks) {
            let widths = walk.widths(lanes, fold.features, fold.outputs);
            let units: usize = widths[1..].iter().map(|width| walk.vectors(*width)).sum();
            weights += walk.weights(lanes, fold.features, fold.outputs) + units;
            activations = activations.max(3 * units * lanes[0].batch as usize);
        }
        let scores = fold.rows * fold.outputs;
        ((3 * weights + activations + scores) * size_of::<Lanes>()) as u64
    }

    fn duration(&self, fold: &MlpFold, lanes: &[MlpParams]) -> u64 {
        Walk::choose(lanes, fold.features, fold.outputs).cost(lanes, fold.features, fold.outputs)
    }

    fn start(&self, fold: &MlpFold, lanes: &[MlpParams]) -> Group {
        let walk = Walk::choose(lanes, fold.features, fold.outputs);
        Group::new(lanes.to_vec(), Networks::start(walk, fold, lanes), 0)
    }

    fn gather(&self, fold: &MlpFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<MlpParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let walk = Walk::choose(&params, fold.features, fold.outputs);
        let mut networks = Networks::zeros(walk, fold, &params);
        for (to, (group, from)) in lanes.iter().enumerate() {
            networks.copy_lane(to, &group.networks, *from, &params[to], fold);
        }
        Group::new(params, networks, lanes.first().map_or(0, |(group, _)| group.epochs))
    }

    fn freeze(&self, fold: &MlpFold, group: &Group, lane: usize) -> Option<Vec<u8>> {
        state::encode(&(group.epochs, group.networks.lane(lane, group.params.get(lane)?, fold)))
    }

    fn thaw(&self, fold: &MlpFold, params: &MlpParams, state: &[u8]) -> Option<Group> {
        let (epochs, values): (u64, Vec<f32>) = state::decode(state)?;
        Some(Group::new(vec![*params], Networks::of_lane(params, fold, &values)?, epochs))
    }

    fn turn(&self, _: &MlpFold, group: &mut Group, lane: usize, params: &MlpParams) {
        group.params[lane] = *params;
    }

    fn advance(&self, level: Level, fold: &MlpFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        let Group { params, networks, epochs, replayed } = group;
        *replayed = Mutex::default();
        let (from, until, of) = (*epochs, budget.max(*epochs), self.budget);
        let walk = networks.walk();
        let layers = &mut networks.layers;
        match walk {
            Walk::Together => {
                dispatch(level, together::Training { fold, params, layers: &mut layers[0], from, until, of });
            }
            Walk::Alone => dispatch(level, alone::Training { fold, params, layers, from, until, of }),
        }
        *epochs = until;
        params.iter().map(|_| LaneProgress { used: until, is_capped: false }).collect()
    }

    fn predict(&self, level: Level, fold: &MlpFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let Group { params, networks, .. } = group;
        let (layers, x) = (&networks.layers, rows.x);
        match networks.walk() {
            Walk::Together => dispatch(level, together::Predicting { fold, params, layers: &layers[0], x, out }),
            Walk::Alone => dispatch(level, alone::Predicting { fold, params, layers, x, out }),
        }
    }

    fn slopes(
        &self,
        level: Level,
        fold: &MlpFold,
        group: &Group,
        lane: usize,
        set: usize,
        term: RowTerm,
    ) -> Option<Vec<f64>> {
        let rows = fold.fold.row_sets().nth(set)?;
        // A term that has no slopes is not worth a training.
        slopes::pulls(rows, fold.target, term, &[], fold.outputs)?;
        let mut last = group.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        let replayed = match last.take() {
            Some((of, replayed)) if of == lane => replayed,
            _ => self.replay(level, fold, group, lane)?,
        };
        let outputs = replayed.outputs.get(set.checked_sub(1)?)?;
        let pulls = slopes::pulls(rows, fold.target, term, &outputs.values, fold.outputs)?;
        let along = if replayed.drift <= MOST_DRIFT { outputs.along(&pulls) } else { [f64::NAN; NAMES.len()] };
        if set < replayed.outputs.len() {
            *last = Some((lane, replayed));
        }
        slopes::columns(&self.space, &std::array::from_fn::<_, { NAMES.len() }, _>(|at| (NAMES[at], along[at])))
    }

    fn read_back(&self, fold: &MlpFold, group: &Group, lane: usize) -> Weights {
        let mut arrays = Vec::new();
        for (index, (inputs, units)) in group.params[lane].shapes(fold.features, fold.outputs).enumerate() {
            let (weights, biases) = group.networks.values(lane, index, 0, (inputs, units));
            arrays.push(WeightArray {
                name: format!("layer_{index}.weight"),
                shape: vec![inputs, units],
                values: weights,
            });
            arrays.push(WeightArray { name: format!("layer_{index}.bias"), shape: vec![units], values: biases });
        }
        arrays.push(WeightArray {
            name: "activation".to_owned(),
            shape: vec![1],
            values: vec![group.params[lane].activation as u32 as f32],
        });
        Weights::of(arrays)
    }
}

impl MlpLanes {
    /// A lane's training gone through again, with what it says of the rows to score.
    fn replay(&self, level: Level, fold: &MlpFold, group: &Group, lane: usize) -> Option<Replayed> {
        let params = *group.params.get(lane)?;
        let x = slopes::features(&fold.fold.train).filter(|x| x.width > 0)?;
        let sets: Option<Vec<Features<'_>>> = fold.fold.evals.iter().map(slopes::features).collect();
        let shapes = params.shapes(fold.features, fold.outputs).enumerate();
        let ended: Vec<_> = shapes.map(|(layer, shape)| group.networks.values(lane, layer, 0, shape)).collect();
        let training = Training {
            key: fold.key,
            params,
            x,
            y: match &fold.y {
                FoldTargets::Classes(codes) => Targets::Classes(codes),
                FoldTargets::Values(values) => Targets::Values(values),
            },
            outputs: fold.outputs,
            weights: fold.weights[usize::from(params.is_balanced)].as_deref(),
            epochs: group.epochs,
            budget: self.budget,
        };
        Some(training.replay(level, &sets?, &ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{normal, uniform};
    use crate::data::Rows;
    use crate::models::mlp::recipe::{Activation, MAX_LAYERS, Optimizer, Schedule};
    use crate::space::SpaceBuilder;
    use ndarray::Array2;

    const EPOCHS: u64 = 3;
    /// What is predicted: no multiple of anything.
    const PREDICTED: usize = 43;

    /// Rows with a target of so many classes, or numbers where there is one.
    fn drawn(seed: u64, rows: usize, features: usize, classes: usize) -> Rows {
        let key = Key::from_seed(seed);
        let x = Array2::from_shape_fn((rows, features), |(i, j)| normal(key.words((i * features + j) as u64)[0]));
        let y = match classes {
            1 => Target::Values((0..rows).map(|row| 50.0 + 9.0 * x[[row, 0]] * x[[row, 1]]).collect()),
            _ => Target::Classes { codes: (0..rows).map(|row| (row * 7 % classes) as u32).collect(), classes },
        };
        Rows::new(x, y)
    }

    /// A fold of so many rows, with none to score.
    fn fold(rows: usize, features: usize, classes: usize) -> MlpFold {
        opened(drawn(11, rows, features, classes), classes)
    }

    /// The same with all but one in seven features zero.
    fn sparse_fold(rows: usize, features: usize, classes: usize) -> MlpFold {
        let mut train = drawn(11, rows, features, classes);
        let zeros = train.x.indexed_iter_mut().filter(|((i, j), _)| (i + j) % 7 != 0);
        zeros.for_each(|(_, value)| *value = 0.0);
        opened(train, classes)
    }

    fn opened(train: Rows, classes: usize) -> MlpFold {
        let target = if classes == 1 { Affine { shift: 50.0, scale: 9.0 } } else { Affine::IDENTITY };
        model().open_fold(&Arc::new(Fold::of_numbers(Key::from_seed(11), train, Vec::new(), target)))
    }

    fn model() -> MlpLanes {
        MlpLanes { space: SpaceBuilder::new().build(), budget: EPOCHS }
    }

    /// Networks that may share a group and differ in everything else; all relu without dropout where `is_plain`.
    fn lanes(count: usize, batch: u32, layers: usize, classes: usize, is_plain: bool) -> Vec<MlpParams> {
        let lane = |lane: usize| {
            let draw = |of: u32| uniform(Key::from_seed(lane as u64).child(of).words(0)[0]);
            let mut hidden = [0; MAX_LAYERS];
            hidden[..layers]
                .iter_mut()
                .enumerate()
                .for_each(|(layer, units)| *units = 1 + (40.0 * draw(layer as u32)) as u32);
            MlpParams {
                hidden,
                layers: layers as u32,
                activation: if is_plain { Activation::Relu } else { Activation::from_code((lane % 4) as f64) },
                optimizer: Optimizer::from_code((lane / 2 % 2) as f64),
                learning_rate: 0.001 + 0.02 * draw(4),
                momentum: 0.5 + 0.4 * draw(5),
                weight_decay: draw(6),
                batch,
                schedule: Schedule::from_code((lane % 3) as f64),
                dropout: if is_plain || lane.is_multiple_of(5) { 0.0 } else { 0.5 * draw(7) },
                label_smoothing: if classes == 1 { 0.0 } else { 0.2 * draw(8) },
                is_balanced: classes > 1 && lane.is_multiple_of(3),
            }
        };
        (0..count).map(lane).collect()
    }

    fn start(fold: &MlpFold, params: &[MlpParams], walk: Walk) -> Group {
        Group::new(params.to_vec(), Networks::start(walk, fold, params), 0)
    }

    fn moved(fold: &MlpFold, group: &Group, walk: Walk) -> Group {
        let mut networks = Networks::zeros(walk, fold, &group.params);
        for (lane, params) in group.params.iter().enumerate() {
            networks.copy_lane(lane, &group.networks, lane, params, fold);
        }
        Group::new(group.params.clone(), networks, group.epochs)
    }

    /// The bits of every lane's weights, moments and predictions.
    fn bits(level: Level, fold: &MlpFold, group: &mut Group) -> Vec<Vec<u32>> {
        let key = Key::from_seed(12);
        let x = Array2::from_shape_fn((PREDICTED, fold.features), |(i, j)| normal(key.words((i * 64 + j) as u64)[0]));
        let mut predictions = vec![Lanes::ZERO; PREDICTED * fold.outputs];
        model().predict(level, fold, group, RowBlock { set: 1, first: 0, x: x.view() }, &mut predictions);
        let lane_bits = |(lane, params): (usize, &MlpParams)| {
            let mut values: Vec<f32> = predictions.iter().map(|vector| vector.0[lane]).collect();
            for (layer, shape) in params.shapes(fold.features, fold.outputs).enumerate() {
                for array in 0..3 {
                    let (weights, biases) = group.networks.values(lane, layer, array, shape);
                    values.extend(weights.into_iter().chain(biases));
                }
            }
            values.into_iter().map(f32::to_bits).collect()
        };
        group.params.iter().enumerate().map(lane_bits).collect()
    }

    fn trained(level: Level, fold: &MlpFold, params: &[MlpParams], walk: Walk) -> Vec<Vec<u32>> {
        let mut group = start(fold, params, walk);
        model().advance(level, fold, &mut group, EPOCHS);
        bits(level, fold, &mut group)
    }

    /// (features, classes, batch, layers, relu alone)
    const CASES: [(usize, usize, u32, usize, bool); 8] = [
        (10, 3, 32, 1, false),
        (19, 17, 16, 2, false),
        (16, 40, 64, 1, false),
        (7, 1, 5, 3, false),
        (33, 1, 32, 1, true),
        (8, 2, 9, 3, true),
        (24, 10, 128, 2, true),
        (2, 16, 32, 3, false),
    ];

    #[test]
    fn both_walks_give_every_lane_the_same_bits() {
        for (features, classes, batch, layers, is_plain) in CASES {
            let folds = [fold(70, features, classes), sparse_fold(70, features, classes)];
            for (fold, level) in
                folds.iter().flat_map(|fold| Level::available().into_iter().map(move |level| (fold, level)))
            {
                // Without instructions for it a fused multiply-add takes long: some lanes must do.
                let count = if level == Level::Plain { 4 } else { LANES };
                let params = lanes(count, batch, layers, classes, is_plain);
                let together = trained(level, fold, &params, Walk::Together);
                let alone = trained(level, fold, &params, Walk::Alone);
                for (lane, (together, alone)) in together.iter().zip(&alone).enumerate() {
                    let what = (features, classes, batch, layers);
                    assert!(together == alone, "{what:?}, lane {lane}, {}", level.name());
                }
            }
        }
    }

    #[test]
    fn features_that_are_mostly_zero_train_the_same_bits_as_if_all_were_multiplied() {
        for (features, classes, batch, layers, is_plain) in CASES {
            let (level, sparse) = (Level::detect(), sparse_fold(70, features, classes));
            assert!(matches!(sparse.x, Inputs::Sparse(_)));
            let mut dense = sparse_fold(70, features, classes);
            dense.x = Inputs::Dense(DenseRows::of(&dense.fold.train.x));
            let params = lanes(LANES, batch, layers, classes, is_plain);
            for walk in [Walk::Together, Walk::Alone] {
                assert!(trained(level, &sparse, &params, walk) == trained(level, &dense, &params, walk), "{walk:?}");
            }
        }
    }

    #[test]
    fn the_comparison_of_walks_sees_the_last_bit_of_a_rate() {
        for (features, classes, batch, layers, is_plain) in CASES {
            let fold = fold(70, features, classes);
            let mut params = lanes(LANES, batch, layers, classes, is_plain);
            let together = trained(Level::detect(), &fold, &params, Walk::Together);
            params.iter_mut().for_each(|params| params.learning_rate = params.learning_rate.next_up());
            let alone = trained(Level::detect(), &fold, &params, Walk::Alone);
            assert!(together.iter().zip(&alone).all(|(together, alone)| together != alone));
        }
    }

    #[test]
    fn a_lane_that_changes_its_walk_keeps_its_bits() {
        let (level, fold) = (Level::detect(), fold(70, 10, 3));
        let params = lanes(LANES, 16, 2, 3, false);
        let whole = trained(level, &fold, &params, Walk::Together);
        for walks in [[Walk::Together, Walk::Alone, Walk::Together], [Walk::Alone, Walk::Together, Walk::Alone]] {
            let mut group = start(&fold, &params, walks[0]);
            for (walk, epoch) in walks.into_iter().zip(1..) {
                group = moved(&fold, &group, walk);
                model().advance(level, &fold, &mut group, epoch);
            }
            assert!(bits(level, &fold, &mut group) == whole, "{walks:?}");
        }
    }

    #[test]
    fn slopes_are_of_the_very_training_that_a_lane_had() {
        for (features, classes, batch, layers, is_plain) in CASES {
            let (level, fold) = (Level::detect(), fold(70, features, classes));
            let params = lanes(5, batch, layers, classes, is_plain);
            let mut group = start(&fold, &params, Walk::choose(&params, features, classes));
            model().advance(level, &fold, &mut group, EPOCHS - 1);
            let drift = |group: &Group, lane: usize| model().replay(level, &fold, group, lane).unwrap().drift;
            for (lane, params) in params.iter().enumerate() {
                let drift = drift(&group, lane);
                assert!(drift < 1e-4, "{params:?}: {drift}");
            }
            group.params.iter_mut().for_each(|params| params.learning_rate *= 1.1);
            let kept: Vec<usize> = (0..params.len()).filter(|lane| drift(&group, *lane) < 1e-3).collect();
            assert!(kept.is_empty(), "a moved rate goes unseen in {kept:?}");
        }
    }

    /// A model of a space with a rate, a fold with two row sets to score, and a group of perceptrons trained on it.
    fn steered(level: Level) -> (MlpLanes, MlpFold, Group) {
        let space = SpaceBuilder::new().log("learning_rate", 1e-4, 0.1, 1e-3).build();
        let model = MlpLanes { space, budget: EPOCHS };
        let evals = vec![drawn(21, 20, 10, 3), drawn(22, 30, 10, 3)];
        let of_two = Fold::of_numbers(Key::from_seed(11), drawn(11, 70, 10, 3), evals, Affine::IDENTITY);
        let fold = model.open_fold(&Arc::new(of_two));
        let params = lanes(5, 16, 2, 3, false);
        let mut group = start(&fold, &params, Walk::choose(&params, 10, 3));
        model.advance(level, &fold, &mut group, EPOCHS);
        (model, fold, group)
    }

    #[test]
    fn row_sets_are_scored_on_one_training_gone_through_again_each_with_slopes_of_its_own() {
        let level = Level::detect();
        let (model, fold, group) = steered(level);
        let slope = |group: &Group, lane: usize, set: usize| {
            model.slopes(level, &fold, group, lane, set, RowTerm::LogLoss).unwrap()[0]
        };
        let is_kept = |group: &Group| group.replayed.lock().unwrap().is_some();
        for lane in 0..group.params.len() {
            let first = slope(&group, lane, 1);
            assert!(is_kept(&group), "another set is to come");
            let second = slope(&group, lane, 2);
            assert!(!is_kept(&group), "nothing is to come that needs it");
            assert!(first.is_finite() && second.is_finite() && first != second, "{first} and {second}");
            // Asked alone, or after another lane's, a set has the same.
            slope(&group, (lane + 1) % group.params.len(), 1);
            assert_eq!(slope(&group, lane, 2).to_bits(), second.to_bits());
        }
    }

    #[test]
    fn where_training_again_ends_elsewhere_there_are_no_slopes() {
        let level = Level::detect();
        let (model, fold, mut group) = steered(level);
        let slope = |group: &Group| model.slopes(level, &fold, group, 0, 1, RowTerm::LogLoss).unwrap()[0];
        assert!(slope(&group).is_finite());
        // As if the lane had been trained with another rate: what is gone through again is not its training.
        group.params[0].learning_rate *= 3.0;
        group.replayed = Mutex::default();
        assert!(slope(&group).is_nan());
    }

    #[test]
    fn few_unlike_or_wide_lanes_walk_alone_and_many_alike_ones_together() {
        let alike = lanes(1, 32, 1, 3, true).repeat(LANES);
        let choice = |lanes: &[MlpParams]| Walk::choose(lanes, 64, 10);
        assert_eq!(choice(&alike), Walk::Together);
        assert_eq!(choice(&alike[..2]), Walk::Alone);
        let mut wide = alike.clone();
        wide.iter_mut().for_each(|params| params.hidden[0] = 256);
        assert_eq!(Walk::choose(&wide, 784, 10), Walk::Alone);
        let mut unlike = alike;
        unlike.iter_mut().for_each(|params| params.hidden[0] = 16);
        unlike[0].hidden[0] = 128;
        assert_eq!(choice(&unlike), Walk::Alone);
    }
}
