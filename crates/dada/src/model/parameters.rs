//! A module's tensors under their paths, the one name that survives a restart.
//!
//! burn identifies parameters by an identifier drawn at run time. Everything that is saved here, weights, buffers and optimizer
//! states, is keyed by the path of field names instead (`layer1.0.conv1.weight`). The variant of an enum does not show in a path,
//! so that a backbone keeps its own (timm) names whichever list it is chosen from.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::formats::NamedTensors;

/// Where a visitor stands in a module tree.
#[derive(Default)]
pub struct ModulePath(Vec<Option<String>>);

impl ModulePath {
    /// Steps into a field; `container` is burn's description of what holds it.
    pub fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    /// Steps back out.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The path as one dotted name.
    pub fn name(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// Copies every parameter and buffer of `module` to the host.
pub fn tensors<M: Module>(module: &M) -> NamedTensors {
    struct Collect {
        path: ModulePath,
        tensors: NamedTensors,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.tensors.insert(self.path.name(), param.val().into_data());
        }
    }
    let mut collect = Collect { path: ModulePath::default(), tensors: NamedTensors::new() };
    module.visit(&mut collect);
    collect.tensors
}

/// Replaces every parameter and buffer of `module` by the tensor of the same path.
///
/// # Errors
/// Unless the paths and shapes of `tensors` are exactly those of the module. `what` names the source in the message.
pub fn load<M: Module>(module: M, tensors: &NamedTensors, what: &str) -> Result<M> {
    struct Load<'a> {
        path: ModulePath,
        tensors: &'a NamedTensors,
        what: &'a str,
        used: BTreeSet<String>,
        problem: Option<Error>,
    }
    impl ModuleMapper for Load<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.path.name();
            let expected = param.dims();
            match self.tensors.get(&name) {
                Some(data) if data.shape().as_slice() == expected => {
                    self.used.insert(name);
                    param.map(|old| {
                        let new = Tensor::from_data(data.clone(), (&old.device(), old.dtype()));
                        new.set_require_grad(old.is_require_grad())
                    })
                }
                found => {
                    let found = found.map_or("nothing".to_owned(), |data| format!("shape {:?}", data.shape().as_slice()));
                    let what = format!("{}: tensor {name}", self.what);
                    self.problem.get_or_insert_with(|| Error::mismatch(what, found, format!("shape {expected:?}")));
                    param
                }
            }
        }
    }
    let mut load = Load { path: ModulePath::default(), tensors, what, used: BTreeSet::new(), problem: None };
    let module = module.map(&mut load);
    if let Some(problem) = load.problem {
        return Err(problem);
    }
    match tensors.keys().find(|name| !load.used.contains(*name)) {
        Some(extra) => Err(Error::mismatch(format!("{what}: tensor {extra}"), "present", "no tensor of this name")),
        None => Ok(module),
    }
}
