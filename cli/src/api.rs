//! `Api`: one HTTP call at a time, and what its status means for the exit code.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::Failure;
use crate::connection::{Connection, Secret};
use crate::endpoint::Endpoint;
use crate::output::printable;

/// How long a call may take; the gateway gives up after ten seconds.
const CALL: Duration = Duration::from_secs(15);

/// The largest page of a list.
const PAGE: usize = 1000;

/// Where a page says where the next one begins.
const CURSOR: &str = "next_cursor";

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 << 20;

/// What stays as it is in a path or a query (RFC 3986, unreserved).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The HTTP API, or the admin port.
pub(crate) struct Api {
    endpoint: Endpoint,
    key: Option<Secret>,
}

impl Api {
    /// The HTTP API with its key.
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        Ok(Self {
            endpoint: connection.api()?,
            key: connection.api_key()?,
        })
    }

    /// The admin port, which takes no key: it listens to the pod itself, where a forwarded port ends.
    pub(crate) fn admin(connection: &Connection) -> Result<Self, Failure> {
        Ok(Self {
            endpoint: connection.admin()?,
            key: None,
        })
    }

    /// Asks.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    /// Tells.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Makes it so.
    pub(crate) async fn put(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.call(Method::PUT, path, body).await
    }

    /// The pages of a list, as one answer: the last page's with all the items. `filter`: what each page is asked with.
    pub(crate) async fn pages(
        &self,
        (path, list): (&str, &str),
        filter: &[(&str, Option<String>)],
        limit: u32,
    ) -> Result<Value, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut items: Vec<Value> = Vec::new();
        let mut cursor = None;
        loop {
            let left = limit.saturating_sub(items.len()).min(PAGE);
            let mut page = filter.to_vec();
            page.push(("limit", Some(left.to_string())));
            page.push(("cursor", cursor));
            let mut answer = self.get(&format!("{path}{}", query(&page))).await?;
            if let Some(Value::Array(page)) = answer.get_mut(list).map(Value::take) {
                items.extend(page);
            }
            cursor = next_cursor(&answer);
            if cursor.is_none() || items.len() >= limit {
                if let Some(answer) = answer.as_object_mut() {
                    answer.insert(list.to_owned(), items.into());
                    if let Some(cursor) = cursor {
                        answer.insert(CURSOR.to_owned(), cursor.into());
                    }
                }
                return Ok(answer);
            }
        }
    }

    /// Ends.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        match timeout(CALL, self.exchange(method, path, body)).await {
            Ok(done) => done,
            Err(_) => Err(self.endpoint.unreachable("no answer in time")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let unreachable = |error: hyper::Error| self.endpoint.unreachable(error);
        let request = self.request(method, path, body)?;
        let socket = TokioIo::new(self.endpoint.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(socket)
            .await
            .map_err(unreachable)?;
        // The connection is driven here and not in a task: it ends with the call.
        let answer = async {
            let (head, body) = sender
                .send_request(request)
                .await
                .map_err(unreachable)?
                .into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.endpoint.unreachable(error))?;
            Ok::<_, Failure>((head.status, body.to_bytes()))
        };
        tokio::pin!(connection, answer);
        let (status, body) = tokio::select! {
            biased;
            done = &mut answer => done?,
            ended = &mut connection => match ended {
                Ok(()) => answer.await?,
                Err(error) => return Err(unreachable(error)),
            },
        };
        self.judge(status, &body)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.path()))
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, concat!("wscctl/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        request
            .body(Full::from(body))
            .map_err(|error| Failure::Usage(format!("{path}: {error}")))
    }

    /// A good answer's body, or why it is not one.
    fn judge(&self, status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
        if status.is_success() && body.is_empty() {
            return Ok(Value::Null);
        }
        let value: Option<Value> = serde_json::from_slice(body).ok();
        if status.is_success() {
            return value.ok_or_else(|| {
                Failure::failed(format!(
                    "{}: the answer is not JSON; is this a gateway?",
                    self.endpoint.authority()
                ))
            });
        }
        let told = told(status, value.as_ref());
        Err(match status {
            StatusCode::NOT_FOUND => Failure::NotFound(told),
            StatusCode::UNAUTHORIZED => Failure::Refused(format!(
                "{told} (give the API key by --api-key-file or WSC_API_KEY)"
            )),
            StatusCode::FORBIDDEN => Failure::Refused(told),
            StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => Failure::Unreachable(told),
            _ => Failure::Failed(told),
        })
    }
}

fn next_cursor(answer: &Value) -> Option<String> {
    match answer.get(CURSOR)? {
        Value::Null => None,
        Value::String(cursor) => Some(cursor.clone()),
        cursor => Some(cursor.to_string()),
    }
}

/// What the gateway says, in one line.
fn told(status: StatusCode, body: Option<&Value>) -> String {
    let text = |name| body?.get("error")?.get(name)?.as_str();
    let Some(message) = text("message") else {
        return format!("refused with {status}");
    };
    let field = text("field")
        .map(|field| format!("{field}: "))
        .unwrap_or_default();
    let code = text("code").unwrap_or(status.as_str());
    printable(&format!("{field}{message} ({code})"))
}

/// A part of a path or a query, whatever is in it.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `?a=b&c=d` of the parameters that are there.
pub(crate) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(format!("{name}={}", encode(value)))
    });
    let given: Vec<String> = given.collect();
    if given.is_empty() {
        String::new()
    } else {
        format!("?{}", given.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_are_one_part_of_a_path() {
        assert_eq!(encode("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
        let parameters = [
            ("limit", Some("2".to_owned())),
            ("cursor", None),
            ("q", Some("a&b".to_owned())),
        ];
        assert_eq!(query(&parameters), "?limit=2&q=a%26b");
    }
}
