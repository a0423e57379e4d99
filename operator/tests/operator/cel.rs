//! What the API server would make of a resource: defaults filled in, then schema rules in CEL.

use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, ValidationError, Validator, apply_defaults, compile_schema};
use serde_json::Value;
use wsc_operator::api::{WebSocketGateway, crd};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// Compiling the rules takes far longer than judging a resource by them.
static COMPILED: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let compiled = compile_schema(&SCHEMA);
    assert!(
        !compiled.has_errors(),
        "{:?}",
        compiled.compilation_errors()
    );
    compiled
});

/// One refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field.
    pub path: String,
    /// What the API server would answer.
    pub message: String,
}

/// The refusals of a new resource.
pub fn judge(resource: Value) -> Vec<Refusal> {
    refusals(&apply_defaults(&SCHEMA, &resource), None)
}

/// The refusals of a change.
pub fn judge_update(new: Value, old: Value) -> Vec<Refusal> {
    let old = apply_defaults(&SCHEMA, &old);
    refusals(&apply_defaults(&SCHEMA, &new), Some(&old))
}

fn refusals(new: &Value, old: Option<&Value>) -> Vec<Refusal> {
    let Err(errors) = Validator::new().validate_compiled(&COMPILED, new, old) else {
        return Vec::new();
    };
    let refusal = |error: ValidationError| Refusal {
        path: error.field_path,
        message: error.message,
    };
    errors.into_vec().into_iter().map(refusal).collect()
}

/// The resource as the operator gets it, if nothing is wrong with it.
pub fn admit(resource: Value) -> WebSocketGateway {
    let whole = apply_defaults(&SCHEMA, &resource);
    assert_eq!(refusals(&whole, None), [], "{resource}");
    serde_json::from_value(whole).unwrap()
}
