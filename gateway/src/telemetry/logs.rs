//! The log: one line an event on standard output, JSON in a pod, text for people.
//!
//! Tokens, keys and contents of messages are never logged. Our own code keeps to that by types that do not print
//! (`BearerToken`, `ApiKey`), and libraries, which know nothing of it, are capped at `info` whatever the level is: hyper
//! and h2 write headers at `debug`. The level can be changed while the process runs. Called once, by the binary.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{
    Format, FormatEvent, FormatFields, Json, JsonFields, Writer,
};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};
use wsc_config::{GatewayConfig, LogFormat, LogLevel};

/// What the log is like.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How much is logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
    /// Fields on every JSON line, such as the gateway's name. Empty values are left out.
    pub fields: Vec<(&'static str, String)>,
}

impl LogSettings {
    /// As configured; `node` is this process's name.
    pub fn from_config(config: &GatewayConfig, node: &str) -> Self {
        let meta = &config.gateway;
        Self {
            level: config.log.level,
            format: config.log.format,
            fields: vec![
                ("gateway", meta.name.clone()),
                ("version", meta.version.clone()),
                ("environment", meta.environment.clone()),
                ("node", node.to_owned()),
            ],
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Something else has set up a log in this process.
    #[error("a log is already set up in this process")]
    AlreadySetUp(#[source] tracing_subscriber::util::TryInitError),
    /// The log is gone.
    #[error("the log's level cannot be changed")]
    Gone(#[source] reload::Error),
}

/// Changes the level while the process runs.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// From now on.
    pub fn set_level(&self, level: LogLevel) -> Result<(), LogError> {
        self.0.reload(directives(level)).map_err(LogError::Gone)
    }
}

/// Sets up the log of this process, and logs panics as errors.
pub fn init_logs(settings: &LogSettings) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = subscriber(settings, std::io::stdout);
    subscriber.try_init().map_err(LogError::AlreadySetUp)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            place,
            "panic: {}",
            panic.payload_as_str().unwrap_or("unknown")
        );
    }));
    Ok(handle)
}

fn subscriber<W>(settings: &LogSettings, writer: W) -> (impl Subscriber + Send + Sync, LogHandle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (level, handle) = reload::Layer::new(directives(settings.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<_> + Send + Sync> = match settings.format {
        LogFormat::Text => Box::new(lines.with_ansi(false)),
        LogFormat::Json => {
            let format = Tagged::new(&settings.fields);
            Box::new(lines.fmt_fields(JsonFields::new()).event_format(format))
        }
    };
    let subscriber = Registry::default().with(level).with(lines);
    (subscriber, LogHandle(handle))
}

/// Libraries speak at `warn` and above, at `info` when ours speaks at `debug` or below.
fn directives(level: LogLevel) -> EnvFilter {
    let others = match level {
        LogLevel::Error => "error",
        LogLevel::Warn | LogLevel::Info => "warn",
        LogLevel::Debug | LogLevel::Trace => "info",
    };
    EnvFilter::new(format!("{others},wsc_gateway={level},wsc_wire={level}"))
}

/// JSON lines that begin with the same fields.
struct Tagged {
    json: Format<Json>,
    /// `"gateway":"chat","node":"chat-0",` or nothing.
    prefix: String,
}

impl Tagged {
    fn new(fields: &[(&'static str, String)]) -> Self {
        let named = fields.iter().filter(|(_, value)| !value.is_empty());
        let pair = |(name, value): &(&str, String)| {
            format!("\"{name}\":{},", serde_json::Value::from(value.as_str()))
        };
        Self {
            json: Format::default()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false),
            prefix: named.map(pair).collect(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Tagged
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        self.json
            .format_event(context, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').ok_or(fmt::Error)?;
        write!(writer, "{{{}{rest}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel, act: impl FnOnce(&LogHandle)) -> String {
        let fields = vec![("gateway", "ch\"at".to_owned()), ("version", String::new())];
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, handle) = subscriber(
            &LogSettings {
                level,
                format,
                fields,
            },
            move || writer.clone(),
        );
        tracing::subscriber::with_default(subscriber, || act(&handle));
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_the_gateways_fields() {
        let text = logged(LogFormat::Json, LogLevel::Info, |_| {
            let span = tracing::info_span!(target: "wsc_gateway", "session", id = 7);
            let _inside = span.enter();
            tracing::info!(target: "wsc_gateway", connections = 3, "serving");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["gateway"], "ch\"at");
        assert_eq!(
            (&line["message"], &line["connections"]),
            (&"serving".into(), &3.into())
        );
        assert_eq!(line["span"]["id"], 7);
        assert!(line.get("version").is_none(), "an empty field is left out");
    }

    #[test]
    fn the_level_holds_and_can_be_changed_while_running() {
        let text = logged(LogFormat::Text, LogLevel::Info, |handle| {
            tracing::debug!(target: "wsc_gateway", "one");
            handle.set_level(LogLevel::Debug).unwrap();
            tracing::debug!(target: "wsc_gateway", "two");
        });
        assert!(!text.contains("one") && text.contains("two"), "{text}");
    }

    #[test]
    fn libraries_never_log_headers_even_at_trace() {
        let text = logged(LogFormat::Text, LogLevel::Trace, |_| {
            tracing::debug!(target: "h2::codec::framed_read", "authorization: Bearer canary");
            tracing::trace!(target: "hyper::proto", "canary");
            tracing::info!(target: "hyper::proto", "told");
        });
        assert!(!text.contains("canary") && text.contains("told"), "{text}");
    }
}
