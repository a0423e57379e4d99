//! The gateway's file. Keys and passwords are never in it.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::error::Error;
use crate::gateway::validate::Validated;
use crate::names::{CONFIG_FILE, Component};

/// The file's text.
pub(super) fn file(input: &Validated) -> Result<String, Error> {
    serde_saphyr::to_string(&input.config).map_err(|error| Error::Yaml(error.to_string()))
}

pub(super) fn build(input: &Validated, file: String) -> ConfigMap {
    ConfigMap {
        metadata: input.meta(&input.names.config(), Component::Gateway),
        data: Some([(CONFIG_FILE.to_owned(), file)].into()),
        ..ConfigMap::default()
    }
}
