//! A fitted model as one file that `predict` reads on any machine: safetensors, with the preparation and the names of the
//! classes as JSON in its metadata. What is read is checked, because a file may come from anyone.

use super::error::{ModelFileError, StudyError};
use super::run_dir::write_whole;
use crate::backend::{WeightArray, Weights};
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
        let info = HashMap::from([(META_KEY.to_owned(), meta)]);
        let bytes = safetensors::serialize(tensors, Some(info)).map_err(|error| failed(error.to_string()))?;
        Ok(write_whole(path, &bytes)?)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<FittedModel, ModelFileError> {
        let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
        let not_a_model = |reason: String| ModelFileError::NotAModel { path: path.to_owned(), reason };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > LARGEST {
            return Err(not_a_model(format!("{length} bytes are more than any model has")));
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
        let mut arrays = Vec::new();
        for (name, view) in tensors.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(not_a_model(format!("{name} holds {:?}, not 32-bit floats", view.dtype())));
            }
            let chunks = view.data().as_chunks::<4>().0;
            let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(not_a_model(format!("{name} holds NaN or infinite weights")));
            }
            arrays.push(WeightArray { name: name.to_owned(), shape: view.shape().to_vec(), values });
        }
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        let has_classes = meta.task == Task::Regression || meta.class_names.len() >= 2;
        let has_scale = meta.target.scale.is_finite() && meta.target.shift.is_finite();
        if !has_classes || !has_scale {
            return Err(not_a_model("its classes or its target scale are missing".to_owned()));
        }
        Ok(FittedModel { meta, weights: Weights { arrays } })
    }

    /// Predicts every row of a table: `[rows, classes]` probabilities, or `[rows, 1]` values.
    pub fn predict(&self, table: &Table) -> Result<Array2<f32>, StudyError> {
        let model = models::find(&self.meta.model)?;
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        let x = self.meta.preparation.transform(table, &rows)?;
        let predicted = model.predict(&self.weights, self.meta.task, self.meta.target, x.view())?;
        let outputs = if self.meta.task == Task::Classification { self.meta.class_names.len() } else { 1 };
        if predicted.ncols() != outputs {
            let reason = format!("it gives {} outputs for {outputs}", predicted.ncols());
            return Err(models::WeightsError(reason).into());
        }
        Ok(predicted)
    }
}
