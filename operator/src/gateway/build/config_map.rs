//! The gateway's file. Keys and passwords are never in it.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use wsc_config::GatewayConfig;

use crate::error::Error;
use crate::gateway::validate::Validated;
use crate::names::{CONFIG_FILE, Component};

/// The file's text: what differs from the defaults. A gateway refuses keys that it does not know, and one of an earlier
/// release (`spec.image`) is to meet a new one only where the resource sets it.
pub(super) fn file(input: &Validated) -> Result<String, Error> {
    let mut config = value(&input.config)?;
    leave_out(&mut config, &value(&GatewayConfig::default())?);
    serde_saphyr::to_string(&config).map_err(|error| Error::Yaml(error.to_string()))
}

fn value(config: &GatewayConfig) -> Result<Value, Error> {
    serde_json::to_value(config).map_err(|error| Error::Yaml(error.to_string()))
}

/// Takes away what is as in the defaults. Lists are told whole.
fn leave_out(value: &mut Value, default: &Value) {
    let (Value::Object(entries), Value::Object(defaults)) = (value, default) else {
        return;
    };
    entries.retain(|key, entry| {
        let Some(default) = defaults.get(key) else {
            return true;
        };
        leave_out(entry, default);
        let is_emptied =
            default.is_object() && entry.as_object().is_some_and(serde_json::Map::is_empty);
        !is_emptied && entry != default
    });
}

pub(super) fn build(input: &Validated, file: String) -> ConfigMap {
    ConfigMap {
        metadata: input.meta(&input.names.config(), Component::Gateway),
        data: Some([(CONFIG_FILE.to_owned(), file)].into()),
        ..ConfigMap::default()
    }
}
