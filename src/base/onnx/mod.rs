//! ONNX files: a graph is built node by node, each giving one value, and becomes bytes at the end.
//!
//! What is written is a subset that old readers know too: IR version 8 with operators of opset 17 and ai.onnx.ml 3.

pub mod messages;

use messages::{
    AttributeProto, Dimension, Extent, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};
use prost::Message;
use std::collections::HashSet;

/// Of the format; the version that opset 17 came with.
pub const IR_VERSION: i64 = 8;
/// Of the standard operators.
pub const OPSET: i64 = 17;
/// Of the operators of `ai.onnx.ml`.
pub const ML_OPSET: i64 = 3;
/// The domain of tree ensembles and label encoders.
const ML_DOMAIN: &str = "ai.onnx.ml";
/// The largest message that protobuf has.
const LARGEST: usize = i32::MAX as usize;
/// The extent that differs from call to call.
const ROWS: &str = "rows";

/// What a tensor holds; the discriminant is its `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Element {
    /// f32
    Float = 1,
    /// i64
    Integer = 7,
    /// Text.
    Text = 8,
    /// f64
    Double = 11,
}

/// A value in a graph: an input, a constant, or what a node gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A setting of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer, or a boolean as 0 or 1.
    Integer(i64),
    /// A number.
    Float(f32),
    /// A text.
    Text(&'static str),
    /// Integers.
    Integers(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Texts(Vec<String>),
    /// What the node repeats.
    Graph(GraphProto),
}

/// A file that no reader could take in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its graph takes {bytes} bytes, and an ONNX file has at most {LARGEST}")]
pub struct TooLarge {
    /// What it would take.
    pub bytes: usize,
}

/// A graph that is being built. Nodes are added after those that they need, so its order is right by itself.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    names: HashSet<String>,
}

impl Graph {
    /// An input of `[rows, 1]`. If its name is taken, it gets a number.
    pub fn input(&mut self, name: &str, element: Element, meaning: &str) -> Value {
        let name = self.free_name(name);
        self.proto.input.push(info(&name, element, &[None, Some(1)], meaning));
        Value(name)
    }

    /// Makes a value an output with a name, which gets a number if it is taken. An extent of `None` is the number of rows.
    pub fn output(
        &mut self,
        value: &Value,
        name: &str,
        element: Element,
        extents: &[Option<usize>],
        meaning: &str,
    ) -> Value {
        let name = self.free_name(name);
        self.proto.output.push(info(&name, element, extents, meaning));
        self.push("", "Identity", &[value], &[], name)
    }

    /// What a standard operator makes of these values.
    pub fn node(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let name = self.free_name(&format!("{operator}_{}", self.proto.node.len()));
        self.push("", operator, inputs, attributes, name)
    }

    /// What a standard operator with several outputs makes of these values.
    pub fn nodes<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let first = self.node(operator, inputs, attributes);
        let more: [Value; N] = std::array::from_fn(|place| match place {
            0 => first.clone(),
            place => Value(self.free_name(&format!("{}_{place}", first.0))),
        });
        if let Some(node) = self.proto.node.last_mut() {
            node.output = more.iter().map(|value| value.0.clone()).collect();
        }
        more
    }

    /// What an operator of ai.onnx.ml makes of these values.
    pub fn ml_node(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let name = self.free_name(&format!("{operator}_{}", self.proto.node.len()));
        self.push(ML_DOMAIN, operator, inputs, attributes, name)
    }

    /// A value that every slice of some others changes, one after another: `step(state, slices)` gives the next state, and may
    /// use any value of this graph. The state is a matrix, and so are slices along the first axis of what is scanned.
    pub fn scan(
        &mut self,
        element: Element,
        start: &Value,
        scanned: &[&Value],
        step: impl FnOnce(&mut Graph, &Value, &[Value]) -> Value,
    ) -> Value {
        let mut body = Graph { names: std::mem::take(&mut self.names), ..Graph::default() };
        let matrix = |body: &mut Graph, name: &str| {
            let name = body.free_name(name);
            body.proto.input.push(matrix_info(&name, element));
            Value(name)
        };
        let state = matrix(&mut body, "state");
        let slices: Vec<Value> = scanned.iter().map(|_| matrix(&mut body, "slice")).collect();
        let next = step(&mut body, &state, &slices);
        body.proto.output.push(matrix_info(&next.0, element));
        self.names = body.names;
        let settings = [
            ("body", Attribute::Graph(GraphProto { name: "step".to_owned(), ..body.proto })),
            ("num_scan_inputs", Attribute::Integer(scanned.len() as i64)),
        ];
        self.node("Scan", &[&[start], scanned].concat(), &settings)
    }

    /// The same elements in another type.
    pub fn cast(&mut self, value: &Value, element: Element) -> Value {
        self.node("Cast", &[value], &[("to", Attribute::Integer(element as i64))])
    }

    /// A constant of 32-bit floats; no extent makes it a scalar.
    pub fn floats(&mut self, extents: &[usize], values: &[f32]) -> Value {
        self.constant(Element::Float, extents, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A constant of 64-bit floats; no extent makes it a scalar.
    pub fn doubles(&mut self, extents: &[usize], values: &[f64]) -> Value {
        self.constant(Element::Double, extents, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A constant of integers; no extent makes it a scalar.
    pub fn integers(&mut self, extents: &[usize], values: &[i64]) -> Value {
        self.constant(Element::Integer, extents, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A list of texts.
    pub fn texts(&mut self, values: &[String]) -> Value {
        let string_data = values.iter().map(|text| text.clone().into_bytes()).collect();
        self.tensor(TensorProto { string_data, ..shape(Element::Text, &[values.len()]) })
    }

    /// The file.
    pub fn into_bytes(self, name: &str, notes: &[(&str, String)]) -> Result<Vec<u8>, TooLarge> {
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let entry =
            |(key, value): &(&str, String)| StringStringEntryProto { key: (*key).to_owned(), value: value.clone() };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(GraphProto { name: name.to_owned(), ..self.proto }),
            opset_import: vec![opset("", OPSET), opset(ML_DOMAIN, ML_OPSET)],
            metadata_props: notes.iter().map(entry).collect(),
        };
        let bytes = model.encoded_len();
        if bytes > LARGEST { Err(TooLarge { bytes }) } else { Ok(model.encode_to_vec()) }
    }

    fn constant(&mut self, element: Element, extents: &[usize], bytes: Vec<u8>) -> Value {
        self.tensor(TensorProto { raw_data: Some(bytes), ..shape(element, extents) })
    }

    fn tensor(&mut self, tensor: TensorProto) -> Value {
        let name = self.free_name(&format!("constant_{}", self.proto.initializer.len()));
        self.proto.initializer.push(TensorProto { name: name.clone(), ..tensor });
        Value(name)
    }

    fn push(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        output: String,
    ) -> Value {
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: domain.to_owned(),
        });
        Value(output)
    }

    /// The name, or with a number where another value has it; an empty one would stand for no value.
    fn free_name(&mut self, wanted: &str) -> String {
        let wanted = if wanted.is_empty() { "unnamed" } else { wanted };
        let numbered = (2_u64..).map(|number| format!("{wanted}_{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let free = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.insert(free.clone());
        free
    }
}

fn shape(element: Element, extents: &[usize]) -> TensorProto {
    let dims = extents.iter().map(|extent| *extent as i64).collect();
    TensorProto { dims, data_type: element as i32, ..TensorProto::default() }
}

/// A matrix of any extent.
fn matrix_info(name: &str, element: Element) -> ValueInfoProto {
    let mut info = info(name, element, &[None, None], "");
    let tensor = info.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
    if let Some(shape) = tensor.and_then(|tensor| tensor.shape.as_mut()) {
        shape.dim.fill(Dimension::default());
    }
    info
}

fn info(name: &str, element: Element, extents: &[Option<usize>], meaning: &str) -> ValueInfoProto {
    let dimension = |extent: &Option<usize>| Dimension {
        value: Some(extent.map_or_else(|| Extent::Name(ROWS.to_owned()), |extent| Extent::Value(extent as i64))),
    };
    let shape = TensorShapeProto { dim: extents.iter().map(dimension).collect() };
    let tensor = TensorType { elem_type: element as i32, shape: Some(shape) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor) }),
        doc_string: meaning.to_owned(),
    }
}

/// Each kind has its own number, `AttributeProto.AttributeType`.
fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let named = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Float(value) => AttributeProto { f: Some(*value), kind: 1, ..named },
        Attribute::Integer(value) => AttributeProto { i: Some(*value), kind: 2, ..named },
        Attribute::Text(text) => AttributeProto { s: Some(text.as_bytes().to_vec()), kind: 3, ..named },
        Attribute::Graph(graph) => AttributeProto { g: Some(graph.clone()), kind: 5, ..named },
        Attribute::Floats(values) => AttributeProto { floats: values.clone(), kind: 6, ..named },
        Attribute::Integers(values) => AttributeProto { ints: values.clone(), kind: 7, ..named },
        Attribute::Texts(texts) => {
            let strings = texts.iter().map(|text| text.clone().into_bytes()).collect();
            AttributeProto { strings, kind: 8, ..named }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_values_share_a_name_whatever_columns_are_called() {
        let mut graph = Graph::default();
        let names = ["Add_0", "label", "", "", "constant_0"];
        let inputs = names.map(|name| graph.input(name, Element::Float, ""));
        let one = graph.floats(&[], &[1.0]);
        let sum = graph.node("Add", &[&inputs[0], &one], &[]);
        let label = graph.output(&sum, "label", Element::Float, &[None, Some(1)], "");
        assert_eq!(inputs.each_ref().map(Value::name), ["Add_0", "label", "unnamed", "unnamed_2", "constant_0"]);
        assert_eq!([&one, &sum, &label].map(Value::name), ["constant_0_2", "Add_0_2", "label_2"]);
    }

    #[test]
    fn fields_have_the_numbers_of_onnx_proto() {
        // Taken apart by hand: tag = number << 3 | wire type (0 varint, 2 length-delimited, 5 fixed 32 bits).
        let alpha = attribute("a", &Attribute::Float(1.0)).encode_to_vec();
        assert_eq!(alpha, [10, 1, b'a', 21, 0, 0, 128, 63, 160, 1, 1]);
        let zero = attribute("a", &Attribute::Integer(0)).encode_to_vec();
        assert_eq!(zero, [10, 1, b'a', 24, 0, 160, 1, 2], "a zero is there, not left out");
        let two = attribute("a", &Attribute::Integers(vec![3, 4])).encode_to_vec();
        assert_eq!(two, [10, 1, b'a', 64, 3, 64, 4, 160, 1, 7]);
    }
}
