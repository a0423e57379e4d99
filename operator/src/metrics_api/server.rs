//! `Server`: one request from its first byte to its answer: who asks, may they, what is so.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use kube::core::SelectorExt;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::time::Instant;

use super::answer;
use super::authorizer::Authorizer;
use super::front_proxy;
use super::question::{Question, is_known};
use super::refusal::Refusal;
use crate::census::{Reading, Unknown};
use crate::counting::Counting;
use crate::metrics::Metrics;
use crate::names::GATEWAY_LABEL;

/// What every connection shares.
pub(super) struct Server {
    pub(super) front_proxy: front_proxy::Current,
    pub(super) authorizer: Authorizer,
    pub(super) counting: Vec<Counting>,
    pub(super) metrics: Arc<Metrics>,
}

impl Server {
    /// Whether a certificate is that of the front proxy.
    pub(super) fn knows(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        self.believed()?.knows(chain)
    }

    /// The response to a request of whoever shows these certificates.
    pub(super) async fn respond(
        &self,
        request: &Parts,
        chain: &[CertificateDer<'_>],
    ) -> Response<Full<Bytes>> {
        let answered = self.answer(request, chain).await;
        match answered {
            Ok(answer) => {
                self.metrics.metrics_api_answered("served");
                response(StatusCode::OK, answer)
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// The response that says why there is no answer.
    pub(super) fn refuse(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        self.metrics.metrics_api_answered(refusal.label());
        response(refusal.code(), refusal.status())
    }

    async fn answer(
        &self,
        request: &Parts,
        chain: &[CertificateDer<'_>],
    ) -> Result<Value, Refusal> {
        let (path, query) = (request.uri.path(), request.uri.query());
        let question = Question::of(&request.method, path, query);
        if question == Ok(Question::Health) {
            return Ok(Value::from("ok"));
        }
        // A stranger does not even learn whether the question is one.
        let believed = self.believed()?;
        believed.knows(chain)?;
        let caller = believed.caller(&request.headers)?;
        let question = question?;
        if let Some(deed) = question.deed() {
            self.authorizer.judge(caller, deed).await?;
        }
        match question {
            Question::Health => Ok(Value::from("ok")),
            Question::Groups => Ok(answer::groups()),
            Question::Versions => Ok(answer::versions()),
            Question::Resources => Ok(answer::resources()),
            Question::Swagger => Ok(answer::swagger()),
            Question::Descriptions => Ok(answer::descriptions()),
            Question::Description => Ok(answer::description()),
            Question::Values {
                namespace,
                metric,
                selector,
            } => {
                if !is_known(&metric) {
                    return Err(Refusal::NotFound(format!("there is no metric {metric:?}")));
                }
                let selects = |gateway: &str| {
                    let labels = [(GATEWAY_LABEL.to_owned(), gateway.to_owned())];
                    selector.matches(&labels.into())
                };
                Ok(answer::values(&self.values(&namespace, selects)?))
            }
            Question::Nothing { path } => Err(Refusal::NotFound(format!("there is no {path:?}"))),
        }
    }

    fn believed(&self) -> Result<Arc<front_proxy::FrontProxy>, Refusal> {
        let believed = self.front_proxy.borrow().clone();
        believed.ok_or(Refusal::Unauthenticated(
            "the API server's front proxy is not known here",
        ))
    }

    /// The numbers of the gateways selected; all of them, or none.
    fn values(
        &self,
        namespace: &str,
        selects: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Reading)>, Refusal> {
        let counted = self.counting.iter().find(|part| part.scope.has(namespace));
        let counted = counted.ok_or_else(|| {
            Refusal::NotFound(format!(
                "this operator does not look after namespace {namespace:?}"
            ))
        })?;
        let found = counted.census.readings(namespace, Instant::now())?;
        let selected = found.into_iter().filter(|(gateway, _)| selects(gateway));
        let known: Result<Vec<_>, Unknown> = selected
            .map(|(gateway, reading)| reading.map(|reading| (gateway, reading)))
            .collect();
        Ok(known?)
    }
}

fn response(code: StatusCode, body: Value) -> Response<Full<Bytes>> {
    let (kind, bytes) = match body {
        Value::String(text) => ("text/plain; charset=utf-8", text.into_bytes()),
        body => ("application/json", body.to_string().into_bytes()),
    };
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
