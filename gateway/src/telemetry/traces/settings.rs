//! `TraceSettings`: where spans go, from the configuration and the secrets. What cannot be used is found at the start.

use std::time::Duration;

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use wsc_config::{GatewayConfig, OtlpProtocol};

/// See the module. Headers never show in `Debug`.
#[derive(Clone)]
pub struct TraceSettings {
    pub(super) endpoint: String,
    pub(super) ratio: f64,
    pub(super) timeout: Duration,
    pub(super) headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    /// What every span carries: the service and the node.
    pub(super) resource: Vec<(&'static str, String)>,
}

/// Why traces cannot be sent as configured. No variant repeats a header's value.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A line of the headers is none.
    #[error("telemetry.otlp.headersSecretRef: line {0} of otlp-headers is not `name: value`")]
    Header(usize),
    /// The endpoint is none.
    #[error("telemetry.otlp.endpoint: `{endpoint}` is no address of a collector")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Box<tonic::transport::Error>,
    },
}

impl std::fmt::Debug for TraceSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TraceSettings({})", self.endpoint)
    }
}

impl TraceSettings {
    /// `None`: no traces are wanted.
    pub fn new(
        config: &GatewayConfig,
        node: &str,
        headers: Option<&str>,
    ) -> Result<Option<Self>, TraceError> {
        let otlp = &config.telemetry.otlp;
        if otlp.endpoint.is_empty() {
            return Ok(None);
        }
        // The only one there is; another would not compile without an exporter.
        let OtlpProtocol::Grpc = otlp.protocol;
        let mut resource = vec![
            ("service.name", config.gateway.name.clone()),
            ("service.instance.id", node.to_owned()),
        ];
        if !config.gateway.version.is_empty() {
            resource.push(("service.version", config.gateway.version.clone()));
        }
        if !config.gateway.environment.is_empty() {
            let environment = config.gateway.environment.clone();
            resource.push(("deployment.environment.name", environment));
        }
        let settings = Self {
            endpoint: otlp.endpoint.clone(),
            ratio: otlp.sample_ratio,
            timeout: otlp.timeout.into(),
            headers: read_headers(headers.unwrap_or_default())?,
            resource,
        };
        super::exporter::endpoint(&settings).map_err(|source| TraceError::Endpoint {
            endpoint: otlp.endpoint.clone(),
            source: Box::new(source),
        })?;
        Ok(Some(settings))
    }
}

fn read_headers(text: &str) -> Result<Vec<(AsciiMetadataKey, AsciiMetadataValue)>, TraceError> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line): (usize, &str)| {
        let wrong = || TraceError::Header(at + 1);
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = name.trim().to_lowercase().parse().map_err(|_| wrong())?;
        let mut value: AsciiMetadataValue = value.trim().parse().map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(headers: &str) -> Result<Option<TraceSettings>, TraceError> {
        let sets = ["telemetry.otlp.endpoint=http://collector:4317".to_owned()];
        let config = GatewayConfig::load(None, [], &sets).unwrap();
        TraceSettings::new(&config, "node", Some(headers))
    }

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        let none = TraceSettings::new(&GatewayConfig::default(), "node", None);
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn headers_are_read_line_by_line_and_a_wrong_one_is_named_by_its_line_alone() {
        let good = settings("authorization: Bearer a:b\n\nX-Scope: chat\n")
            .unwrap()
            .unwrap();
        let names: Vec<&str> = good.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["authorization", "x-scope"]);
        assert_eq!(good.headers[0].1, "Bearer a:b");
        assert!(!format!("{good:?}").contains("Bearer"));
        let wrong = settings("a: b\nhunter2").unwrap_err().to_string();
        assert!(
            wrong.contains("line 2") && !wrong.contains("hunter2"),
            "{wrong}"
        );
    }
}
