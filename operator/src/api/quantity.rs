//! `Quantity` and `ResourcesSpec`: CPU and memory as users write them.
//!
//! Kubernetes' own type has no bound on its length and no pattern; a value that no pod could carry would then be found
//! out only when the Deployment is applied. Numbers (`cpu: 1`) are as good as texts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// An amount such as `500m`, `2` or `128Mi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity(pub String);

impl Quantity {
    /// The amount in whole bytes; `None` when it is not written with a unit of memory.
    pub fn bytes(&self) -> Option<u64> {
        const UNITS: [(&str, u64); 9] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("Ti", 1 << 40),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
            ("", 1),
        ];
        let (number, scale) = UNITS
            .iter()
            .find_map(|(unit, scale)| self.0.strip_suffix(unit).map(|number| (number, *scale)))?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && part.is_empty() {
            return None;
        }
        // `.5` has no whole part; a fraction of a byte does not count.
        let digits = |text: &str| match text {
            "" => Some(0),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u128>().ok(),
            _ => None,
        };
        let below = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let scale = u128::from(scale);
        let bytes = digits(whole)?
            .checked_mul(scale)?
            .checked_add(digits(part)?.checked_mul(scale)? / below)?;
        u64::try_from(bytes).ok()
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        KubeQuantity::deserialize(deserializer).map(|quantity| Self(quantity.0))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "nullable": false,
            "pattern": "^([0-9]{1,12}(\\.[0-9]{1,9})?|\\.[0-9]{1,9})(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
            "minimum": 0,
            "maxLength": 24,
        })
    }
}

/// What a pod asks for and what it is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcesSpec {
    /// What is reserved, by resource (`cpu`, `memory`).
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
    /// What is never exceeded, by resource (`cpu`, `memory`).
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

impl ResourcesSpec {
    /// A pod that reserves `cpu` and `memory`, and may use memory up to `limit`.
    pub fn new(cpu: &str, memory: &str, limit: &str) -> Self {
        let entry = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
        Self {
            requests: [entry("cpu", cpu), entry("memory", memory)].into(),
            limits: [entry("memory", limit)].into(),
        }
    }

    /// The same in Kubernetes' own type.
    pub fn to_requirements(&self) -> ResourceRequirements {
        let convert = |amounts: &BTreeMap<String, Quantity>| {
            let converted: BTreeMap<_, _> = amounts
                .iter()
                .map(|(name, amount)| (name.clone(), KubeQuantity(amount.0.clone())))
                .collect();
            (!converted.is_empty()).then_some(converted)
        };
        ResourceRequirements {
            requests: convert(&self.requests),
            limits: convert(&self.limits),
            claims: None,
        }
    }
}

/// A number of pods, or a percentage of them.
pub(super) fn count_or_percentage(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": "^(100|[0-9]{1,2})%$",
        "minimum": 0,
        "maximum": 1000,
        "maxLength": 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_bytes_whatever_its_unit() {
        let bytes = |text: &str| Quantity(text.to_owned()).bytes();
        assert_eq!(bytes("256Mi"), Some(256 << 20));
        assert_eq!(bytes("1G"), Some(1_000_000_000));
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("1.5Gi"), Some(3 << 29));
        assert_eq!(bytes(".5Gi"), Some(1 << 29));
        assert_eq!(bytes("0.0005k"), Some(0));
        assert_eq!(bytes("500m"), None);
        assert_eq!(bytes("."), None);
        assert_eq!(bytes("Gi"), None);
        assert_eq!(bytes("99999999999999Ti"), None);
    }

    #[test]
    fn a_bare_number_is_as_good_as_a_text() {
        let spec: ResourcesSpec =
            serde_json::from_value(serde_json::json!({"limits": {"cpu": 2, "memory": "1Gi"}}))
                .unwrap();
        assert_eq!(spec.limits["cpu"], Quantity("2".to_owned()));
    }
}
