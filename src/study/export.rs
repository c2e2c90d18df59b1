//! A fitted model as an ONNX file: preparation, model and the classes' names in one graph, which needs nothing of this
//! program to predict.

use super::error::StudyError;
use super::model_file::FittedModel;
use crate::base::onnx::{Attribute, Element, Graph, TooLarge, Value};
use crate::data::Task;
use crate::models::{self, MODELS};

/// A model that cannot become an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The operators of ONNX cannot say what it does.
    #[error("{model} has no form in ONNX\n  These models have: {}", known.join(", "))]
    Unsaid {
        /// The model's name.
        model: String,
        /// Those that have one.
        known: Vec<&'static str>,
    },
    /// Protobuf cannot hold it.
    #[error(
        "the model is too large for ONNX: {0}\n  predict reads the model file of thousandfold, which may be larger"
    )]
    TooLarge(#[from] TooLarge),
}

impl FittedModel {
    /// The bytes of an ONNX file. It is fed a tensor `[rows, 1]` for each column, and gives what `predict` does:
    /// `label` `[rows]` and `probabilities` `[rows, classes]`, or `value` `[rows, 1]`.
    pub fn to_onnx(&self) -> Result<Vec<u8>, StudyError> {
        let FittedModel { meta, weights } = self;
        let model = models::find(&meta.model)?;
        let add_model = model.onnx().ok_or_else(|| ExportError::Unsaid {
            model: meta.model.clone(),
            known: MODELS.iter().filter(|model| model.onnx().is_some()).map(|model| model.name()).collect(),
        })?;
        let mut graph = Graph::default();
        let x = meta.preparation.onnx(&mut graph);
        let predicted = add_model(weights, meta.task, meta.target, &mut graph, &x)?;
        match meta.task {
            Task::Classification => self.add_classes(&mut graph, &predicted),
            Task::Regression => {
                graph.output(&predicted, "value", Element::Float, &[None, Some(1)], &meta.target_name);
            }
        }
        let params = serde_json::to_string(&meta.params).unwrap_or_default();
        let notes = [("model", meta.model.clone()), ("target", meta.target_name.clone()), ("hyperparameters", params)];
        Ok(graph.into_bytes(&meta.model, &notes).map_err(ExportError::from)?)
    }

    /// The most likely class by its name, the first of several, and the probabilities.
    fn add_classes(&self, graph: &mut Graph, probabilities: &Value) {
        let meta = &self.meta;
        let settings = [("axis", Attribute::Integer(1)), ("keepdims", Attribute::Integer(0))];
        let class = graph.node("ArgMax", &[probabilities], &settings);
        let names = graph.texts(&meta.class_names);
        let label = graph.node("Gather", &[&names, &class], &[]);
        graph.output(&label, "label", Element::Text, &[None], &meta.target_name);
        let classes = meta.class_names.join(", ");
        graph.output(probabilities, "probabilities", Element::Float, &[None, Some(meta.class_names.len())], &classes);
    }
}
