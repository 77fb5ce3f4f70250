//! Reads a model file into a graph.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use prost::Message;

use super::{
    lowered::{Lowered, Source},
    merge::{coding_of, merge, moved_coding},
    node::NodeReader,
    ops, order,
    proto::{
        GraphProto, ModelProto, NodeProto, ValueInfoProto,
        tensor_shape_proto::dimension::Value as DimValue, type_proto::Value as TypeValue,
    },
    tensor,
};
use crate::network::{
    array::Array,
    error::NetworkError,
    graph::{Graph, GraphInput, InputDim, Node, TensorId},
    ops::Op,
    shapes::{Fact, infer_node, open_input_facts},
};

/// The operator set versions whose meaning is known here.
const OPSETS: std::ops::RangeInclusive<i64> = 6..=25;
/// No input is longer than this along any axis.
const MAX_DIM: usize = 1 << 31;
/// Numbers that constants computed while reading may have in all, beside the file's own.
const MAX_COMPUTED: usize = 3 << 26;

impl Graph {
    /// Reads an ONNX file. What follows from constants alone is computed.
    ///
    /// # Errors
    /// A [`NetworkError`] naming the file, node or tensor that can not be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let path = path.as_ref();
        let error = |source| NetworkError::Io { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(error)?;
        Self::from_onnx(bytes.into(), path.parent())
            .map_err(|error| NetworkError::File { path: path.to_owned(), error: Box::new(error) })
    }

    /// Reads an ONNX model from memory; external data is looked for in `base`.
    ///
    /// # Errors
    /// As [`Graph::load`].
    pub fn from_bytes(bytes: Vec<u8>, base: Option<&Path>) -> Result<Self, NetworkError> {
        Self::from_onnx(bytes.into(), base)
    }

    fn from_onnx(bytes: bytes::Bytes, base: Option<&Path>) -> Result<Self, NetworkError> {
        let not_onnx = |reason: String| NetworkError::NotOnnx { reason };
        let model = ModelProto::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
        let graph = model.graph.as_ref().ok_or_else(|| not_onnx("it holds no graph".into()))?;
        let opset = opset(&model)?;
        let mut importer = Importer::new(opset, data_types(graph));
        let texts = model.metadata_props.iter();
        importer.graph.texts =
            texts.map(|text| (text.key().to_owned(), text.value().to_owned())).collect();
        importer.read_initializers(graph, base)?;
        importer.read_inputs(graph)?;
        let given: HashSet<&str> = importer.tensors.keys().copied().collect();
        for index in order::sort(graph, &given)? {
            importer.read_node(&graph.node[index], index, graph)?;
        }
        importer.finish(graph)
    }
}

/// The types of the constants a file gives, by name.
fn data_types(graph: &GraphProto) -> HashMap<&str, i32> {
    let given = graph.initializer.iter().map(|tensor| (tensor.name(), tensor.data_type()));
    let constants = graph.node.iter().filter(|node| node.op_type() == "Constant");
    let made = constants.filter_map(|node| {
        let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
        Some((node.output.first()?.as_str(), value.data_type()))
    });
    given.chain(made).collect()
}

/// The version of the default operator set.
fn opset(model: &ModelProto) -> Result<i64, NetworkError> {
    let default = model.opset_import.iter().find(|set| matches!(set.domain(), "" | "ai.onnx"));
    let found = default
        .ok_or_else(|| NetworkError::NotOnnx { reason: "it names no operator set".into() })?
        .version();
    if OPSETS.contains(&found) {
        return Ok(found);
    }
    Err(NetworkError::Opset {
        domain: "ai.onnx".into(),
        found,
        supported: format!("{} to {}", OPSETS.start(), OPSETS.end()),
    })
}

/// A graph in the making.
struct Importer<'a> {
    opset: i64,
    data_types: HashMap<&'a str, i32>,
    graph: Graph,
    /// What each name of the file stands for.
    tensors: HashMap<&'a str, TensorId>,
    taken_names: HashSet<String>,
    node_names: HashSet<String>,
    /// By tensor.
    facts: Vec<Fact>,
    /// Numbers in constants: the file's own, and those computed from them.
    own: usize,
    computed: usize,
}

impl<'a> Importer<'a> {
    fn new(opset: i64, data_types: HashMap<&'a str, i32>) -> Self {
        Self {
            opset,
            data_types,
            graph: Graph::default(),
            tensors: HashMap::new(),
            taken_names: HashSet::new(),
            node_names: HashSet::new(),
            facts: Vec::new(),
            own: 0,
            computed: 0,
        }
    }

    /// A new tensor; the name gets a number when it is taken.
    fn add(&mut self, name: &str, fact: Fact) -> TensorId {
        let unique = unique(&mut self.taken_names, name);
        self.graph.tensor_names.push(unique);
        let id = TensorId(self.facts.len());
        if let Some(array) = fact.array() {
            self.graph.constants.insert(id, array.clone());
        }
        self.facts.push(fact);
        id
    }

    fn define(&mut self, name: &'a str, fact: Fact) -> Result<(), NetworkError> {
        let id = self.add(name, fact);
        match self.tensors.insert(name, id) {
            None => Ok(()),
            Some(_) => Err(NetworkError::Duplicate { what: "tensor", name: name.to_owned() }),
        }
    }

    /// A tensor by name. Every name was found to be made by some node, so what is missing
    /// here is an output of that node that is not computed.
    fn tensor(&self, name: &str) -> Result<TensorId, NetworkError> {
        self.tensors.get(name).copied().ok_or_else(|| NetworkError::Tensor {
            tensor: name.to_owned(),
            reason: "it is an additional output of its node, which is not supported".into(),
        })
    }

    fn read_initializers(
        &mut self,
        graph: &'a GraphProto,
        base: Option<&Path>,
    ) -> Result<(), NetworkError> {
        if let Some(sparse) = graph.sparse_initializer.first() {
            return Err(NetworkError::Tensor {
                tensor: sparse.values.as_ref().map_or("", |values| values.name()).to_owned(),
                reason: "sparse tensors are not supported; store it dense".into(),
            });
        }
        for initializer in &graph.initializer {
            let array = tensor::read(initializer, base)?;
            self.own += array.len();
            self.define(initializer.name(), Fact::constant(array))?;
        }
        Ok(())
    }

    /// Old files list initializers among the inputs; what has a value is none.
    fn read_inputs(&mut self, graph: &'a GraphProto) -> Result<(), NetworkError> {
        let mut names = HashSet::new();
        if let Some(twice) = graph.input.iter().find(|input| !names.insert(input.name())) {
            return Err(NetworkError::Duplicate { what: "input", name: twice.name().to_owned() });
        }
        let open: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|input| !self.tensors.contains_key(input.name())).collect();
        let first = self.facts.len();
        for (index, input) in open.iter().enumerate() {
            let declared = declared_input(input, TensorId(first + index))?;
            self.graph.inputs.push(declared);
        }
        let facts = open_input_facts(&self.graph.inputs);
        for (input, fact) in open.iter().zip(facts) {
            self.define(input.name(), fact)?;
        }
        Ok(())
    }

    fn read_node(
        &mut self,
        proto: &'a NodeProto,
        index: usize,
        graph: &GraphProto,
    ) -> Result<(), NetworkError> {
        let find = |name: &String| match name.as_str() {
            "" => Ok(None),
            name => self.tensor(name).map(Some),
        };
        let inputs: Vec<Option<TensorId>> =
            proto.input.iter().map(find).collect::<Result<_, _>>()?;
        let facts = inputs.iter().map(|input| input.map(|id| &self.facts[id.index()])).collect();
        let reader = NodeReader::new(proto, index, self.opset, inputs, facts, &self.data_types);
        let lowered = ops::lower(&reader)?;
        let name = reader.name;
        self.emit(proto, &name, lowered, graph)
    }

    fn emit(
        &mut self,
        proto: &'a NodeProto,
        name: &str,
        lowered: Lowered,
        graph: &GraphProto,
    ) -> Result<(), NetworkError> {
        let mut made: Vec<TensorId> = Vec::with_capacity(lowered.steps.len());
        let named_for = |(op, _): &(Op, Vec<Source>)| op.name() == proto.op_type();
        let principal = match lowered.steps.len() {
            1 => Some(0),
            _ => lowered.steps.iter().position(named_for),
        };
        for (step, (op, sources)) in lowered.steps.into_iter().enumerate() {
            // Of several operations, the one that the node is named for keeps the name.
            let node_name = match principal {
                Some(kept) if kept == step => unique(&mut self.node_names, name),
                _ => unique(&mut self.node_names, &format!("{name}/{}", op.name())),
            };
            let makes =
                lowered.outputs.iter().position(|o| matches!(o, Source::Step(s) if *s == step));
            let output_name = makes
                .and_then(|position| proto.output.get(position))
                .filter(|output| !output.is_empty())
                .map_or_else(|| format!("{name}/{step}"), Clone::clone);
            let inputs =
                sources.into_iter().map(|source| self.resolve(source, name, &made)).collect();
            made.push(self.push(&node_name, op, inputs, &output_name)?);
        }
        for (output, source) in proto.output.iter().zip(lowered.outputs) {
            let is_alias = !matches!(source, Source::Step(_));
            let Some(mut id) = self.resolve(source, name, &made) else { continue };
            let is_graph_output = graph.output.iter().any(|known| known.name() == output);
            if is_alias && is_graph_output {
                // So that the output keeps its own name.
                let node_name = unique(&mut self.node_names, name);
                id = self.push(&node_name, Op::Identity, vec![Some(id)], output)?;
            }
            self.tensors.insert(output, id);
        }
        Ok(())
    }

    fn resolve(&mut self, source: Source, name: &str, made: &[TensorId]) -> Option<TensorId> {
        match source {
            Source::Absent => None,
            Source::Tensor(id) => Some(id),
            Source::Step(step) => Some(made[step]),
            Source::Constant(array) => {
                Some(self.add(&format!("{name}/constant"), Fact::constant(array)))
            }
        }
    }

    /// Adds one operation, or its value when that follows from constants.
    fn push(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<Option<TensorId>>,
        output_name: &str,
    ) -> Result<TensorId, NetworkError> {
        let output = TensorId(self.facts.len());
        let node = Node { name: name.to_owned(), op, inputs, output };
        let facts: Vec<Option<&Fact>> =
            node.inputs.iter().map(|input| input.map(|id| &self.facts[id.index()])).collect();
        let fact = infer_node(&node, &facts)?;
        match fact.array() {
            Some(array) => {
                let read = |position: usize| facts.get(position).copied().flatten()?.array();
                let known = |position: usize| self.graph.codings.get(&node.input(position)?);
                let coding = coding_of(&node.op, [read(0), read(1)], array)
                    .or_else(|| moved_coding(&node.op, known(0)?, read(1)?));
                self.graph.codings.extend(coding.map(|coding| (output, coding)));
                self.count_computed(&node, array)?;
            }
            None => self.graph.nodes.push(node),
        }
        Ok(self.add(output_name, fact))
    }

    fn count_computed(&mut self, node: &Node, array: &Array) -> Result<(), NetworkError> {
        self.computed = self.computed.saturating_add(array.len());
        if self.computed <= MAX_COMPUTED.saturating_add(self.own.saturating_mul(16)) {
            return Ok(());
        }
        Err(NetworkError::Shape {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: "the constants computed up to here are too large".into(),
        })
    }

    fn finish(mut self, graph: &GraphProto) -> Result<Graph, NetworkError> {
        if graph.output.is_empty() {
            return Err(NetworkError::NotOnnx { reason: "its graph has no output".into() });
        }
        for output in &graph.output {
            let tensor = self.tensor(output.name())?;
            self.graph.outputs.push(tensor);
        }
        self.graph.remove_unused();
        merge(&mut self.graph);
        Ok(self.graph)
    }
}

/// A name that is not taken yet: the given one, or that with a number.
fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut unique = name.to_owned();
    let mut number = 1;
    while !taken.insert(unique.clone()) {
        number += 1;
        unique = format!("{name}_{number}");
    }
    unique
}

fn declared_input(input: &ValueInfoProto, tensor: TensorId) -> Result<GraphInput, NetworkError> {
    let error = |reason: String| NetworkError::Tensor { tensor: input.name().to_owned(), reason };
    let Some(TypeValue::TensorType(declared)) =
        input.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    else {
        return Err(error("it is not declared as a tensor".into()));
    };
    let element = tensor::element_of(declared.elem_type()).ok_or_else(|| {
        error(format!("data type {} is not supported", tensor::type_name(declared.elem_type())))
    })?;
    let shape =
        declared.shape.as_ref().ok_or_else(|| error("it is declared without a shape".into()))?;
    let dims = shape.dim.iter().map(|dim| match &dim.value {
        Some(DimValue::DimParam(name)) => Ok(InputDim::Open(name.clone())),
        Some(DimValue::DimValue(n)) if *n != 0 => match usize::try_from(*n) {
            Ok(known) if known <= MAX_DIM => Ok(InputDim::Fixed(known)),
            _ => Err(error(format!("it has a dimension of {n}"))),
        },
        _ => Ok(InputDim::Open(String::new())),
    });
    Ok(GraphInput { tensor, element, dims: dims.collect::<Result<_, _>>()? })
}
