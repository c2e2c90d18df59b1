//! A fitted model as one file that `predict` reads on any machine: safetensors, with the preparation and the names of the
//! classes as JSON in its metadata. What is read is checked, because a file may come from anyone.

use super::error::{ModelFileError, StudyError};
use super::run_dir::write_whole;
use crate::backend::{IntegerArray, WeightArray, Weights};
use crate::data::prepare::Preparation;
use crate::data::table::Table;
use crate::data::{Affine, Task};
use crate::models;
use crate::space::Value;
use indexmap::IndexMap;
use ndarray::Array2;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The newest format that this program reads and writes.
pub const VERSION: u32 = 1;
const META_KEY: &str = "thousandfold";
/// The largest file that is read.
const LARGEST: u64 = 4 << 30;

/// Everything that `predict` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedModel {
    /// All but the weights.
    pub meta: ModelMeta,
    /// The weights.
    pub weights: Weights,
}

/// What stands beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMeta {
    /// Of this metadata.
    pub format: u32,
    /// A name of the model registry.
    pub model: String,
    /// What is predicted.
    pub task: Task,
    /// The target's column.
    pub target_name: String,
    /// The classes' names in the order of the outputs.
    pub class_names: Vec<String>,
    /// How a regression target was scaled.
    pub target: Affine,
    /// From columns to features.
    pub preparation: Preparation,
    /// Markers of missing cells, beside the usual ones.
    pub missing: Vec<String>,
    /// The hyperparameters.
    pub params: IndexMap<String, Value>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl FittedModel {
    /// Writes the file.
    pub fn save(&self, path: &Path) -> Result<(), StudyError> {
        let failed = |reason: String| {
            let source = std::io::Error::other(reason);
            StudyError::RunDir(super::error::RunDirError::Io { path: path.to_owned(), source })
        };
        let meta = serde_json::to_string(&self.meta).map_err(|error| failed(error.to_string()))?;
        let mut tensors = Vec::new();
        for array in &self.weights.arrays {
            let bytes: &[u8] = bytemuck::cast_slice(&array.values);
            let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes);
            tensors.push((array.name.clone(), view.map_err(|error| failed(error.to_string()))?));
        }
        for array in &self.weights.integers {
            let bytes: &[u8] = bytemuck::cast_slice(&array.values);
            let view = TensorView::new(Dtype::U32, array.shape.clone(), bytes);
            tensors.push((array.name.clone(), view.map_err(|error| failed(error.to_string()))?));
        }
        let info = HashMap::from([(META_KEY.to_owned(), meta)]);
        let bytes = safetensors::serialize(tensors, Some(info)).map_err(|error| failed(error.to_string()))?;
        Ok(write_whole(path, &bytes)?)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<FittedModel, ModelFileError> {
        let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
        let not_a_model = |reason: String| ModelFileError::NotAModel { path: path.to_owned(), reason };
        let found = std::fs::metadata(path).map_err(unreadable)?;
        // A pipe or a device may never end.
        if !found.is_file() {
            return Err(not_a_model("it is not a file".to_owned()));
        }
        if found.len() > LARGEST {
            return Err(not_a_model(format!("{} bytes are more than any model has", found.len())));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let bad = |error: safetensors::SafeTensorError| not_a_model(error.to_string());
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(bad)?;
        let info = header.metadata().as_ref().and_then(|info| info.get(META_KEY));
        let info = info.ok_or_else(|| not_a_model(format!("its metadata have no \"{META_KEY}\"")))?;
        let format: FormatOnly = serde_json::from_str(info).map_err(|error| not_a_model(error.to_string()))?;
        if format.format > VERSION {
            return Err(ModelFileError::Newer { path: path.to_owned(), found: format.format, known: VERSION });
        }
        let meta: ModelMeta = serde_json::from_str(info).map_err(|error| not_a_model(error.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(bad)?;
        let (mut arrays, mut integers) = (Vec::new(), Vec::new());
        for (name, view) in tensors.iter() {
            let (name, shape) = (name.to_owned(), view.shape().to_vec());
            let words = view.data().as_chunks::<4>().0.iter();
            match view.dtype() {
                Dtype::F32 => {
                    let values: Vec<f32> = words.map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    if values.iter().any(|value| !value.is_finite()) {
                        return Err(not_a_model(format!("{name} holds NaN or infinite weights")));
                    }
                    arrays.push(WeightArray { name, shape, values });
                }
                Dtype::U32 => {
                    integers.push(IntegerArray { name, shape, values: words.map(|b| u32::from_le_bytes(*b)).collect() })
                }
                other => {
                    return Err(not_a_model(format!("{name} holds {other:?}, not 32-bit floats or whole numbers")));
                }
            }
        }
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        integers.sort_by(|a, b| a.name.cmp(&b.name));
        let fitted = FittedModel { meta, weights: Weights { arrays, integers } };
        fitted.check().map_err(|reason| not_a_model(reason.trim_end().to_owned()))?;
        Ok(fitted)
    }

    /// Whether its parts fit together. Shapes are tried on no row at all, so that whatever is allocated for rows later is
    /// in proportion to weights that are really there.
    fn check(&self) -> Result<(), String> {
        let FittedModel { meta, weights } = self;
        let model = models::find(&meta.model).map_err(|error| error.to_string())?;
        if !model.tasks().contains(&meta.task) {
            return Err(format!("{} has no such task", meta.model));
        }
        if meta.task == Task::Classification && meta.class_names.len() < 2 {
            return Err("its classes are missing".to_owned());
        }
        if !(meta.target.scale.is_finite() && meta.target.scale > 0.0 && meta.target.shift.is_finite()) {
            return Err("its target scale is missing".to_owned());
        }
        meta.preparation.check()?;
        let no_rows = Array2::zeros((0, meta.preparation.features().len()));
        let predicted = model.predict(weights, meta.task, meta.target, no_rows.view()).map_err(|error| error.0)?;
        match predicted.ncols() == self.outputs() {
            true => Ok(()),
            false => Err(format!("it gives {} outputs for {}", predicted.ncols(), self.outputs())),
        }
    }

    /// What one row's prediction holds.
    fn outputs(&self) -> usize {
        match self.meta.task {
            Task::Classification => self.meta.class_names.len(),
            Task::Regression => 1,
        }
    }

    /// Predicts every row of a table: `[rows, classes]` probabilities, or `[rows, 1]` values.
    pub fn predict(&self, table: &Table) -> Result<Array2<f32>, StudyError> {
        let model = models::find(&self.meta.model)?;
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        let x = self.meta.preparation.transform(table, &rows)?;
        Ok(model.predict(&self.weights, self.meta.task, self.meta.target, x.view())?)
    }
}
