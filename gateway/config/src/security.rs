//! `SecurityConfig`: who gets in, what they may send and how much of it.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule};
use crate::{ByteSize, Cidr, JwtConfig, KibSize, Seconds, SecretKeyRef};

/// Conditions between keys; [`SecurityConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: "!self.enableIpWhitelist || self.whitelistIps.size() > 0",
    message: "must not be empty when enableIpWhitelist is set: nobody would get in",
    path: ".whitelistIps",
}];

/// Who gets in, what they may send and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
// Each switch is a key of the reference and none excludes another.
#[allow(clippy::struct_excessive_bools)]
pub struct SecurityConfig {
    /// Whether clients must show a token. False is for development: identity then comes from the query.
    pub enable_auth: bool,
    /// Whether contents are sealed (AES-256-GCM) wherever they leave the process for Redis.
    pub enable_encryption: bool,
    /// Whether `messageRateLimit` is held.
    pub enable_rate_limit: bool,
    /// The largest message, after decompression. A larger one closes the connection with 1009.
    #[schemars(transform = schema::between("1KiB", "64MiB"))]
    pub max_message_size: KibSize,
    /// The values of the claim `user_type` that are let in.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 32), regex(pattern = schema::USER_TYPE)))]
    pub allowed_user_types: Vec<String>,
    /// Whether only addresses in `whitelistIps` are let in.
    pub enable_ip_whitelist: bool,
    /// The addresses that are let in, as ranges, when `enableIpWhitelist` is set.
    #[schemars(length(max = 256))]
    pub whitelist_ips: Vec<Cidr>,
    /// The addresses that are never let in, as ranges.
    #[schemars(length(max = 256))]
    pub blocked_ips: Vec<Cidr>,
    /// The proxies whose forwarded addresses are believed, as ranges. Empty: none.
    #[schemars(length(max = 64))]
    pub trusted_proxies: Vec<Cidr>,
    /// The longest life (`exp` less `iat`) of a token that is accepted, and the life of tokens minted here.
    #[schemars(transform = schema::between("1s", "8760h"))]
    pub token_expiration: Seconds,
    /// The most connections from one address to a node, of clients, of callers of the HTTP API and of callers of the gRPC API
    /// each. 0: no limit, as is right behind a proxy or a load balancer that is not among `trustedProxies`: everyone then
    /// comes from its address.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_connections_per_address: u32,
    /// The most handshakes under way from one address, so that a flood leaves room for others. Connections of
    /// `trustedProxies` are not counted. 0: no limit.
    #[schemars(range(min = 0, max = 65_536))]
    pub max_handshakes_per_address: u32,
    /// How many wrong tokens in a row, within `loginLockDuration`, lead to a lock-out: of the address they come from or,
    /// if they are signed rightly and refused for something else, of their user at that address. API keys likewise. 0: none do.
    #[schemars(range(min = 0, max = 1000))]
    pub max_login_attempts: u32,
    /// How long a lock-out lasts.
    #[schemars(transform = schema::between("1s", "24h"))]
    pub login_lock_duration: Seconds,
    /// How much a user may send.
    pub message_rate_limit: MessageRateLimitConfig,
    /// Which tokens are believed.
    pub jwt: JwtConfig,
    /// The Secret with the key that contents are sealed with: 32 bytes in base64 or hexadecimal. Beside the key named, its
    /// `-next` and `-previous` open contents too. Absent: the operator makes one; in a file, `encryption-key` of the secrets
    /// directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_key_secret_ref: Option<SecretKeyRef>,
    /// The Secret with the key of the HTTP and gRPC API. Beside the key named, its `-next` and
    /// `-previous` are taken too. Absent: the operator makes one; in a file, `api-key` of the secrets directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Whether a token may come as `?access_token=`. It then shows in the logs of every proxy on the way.
    pub allow_query_token: bool,
    /// How long a client has from the accepted socket to the finished upgrade.
    #[schemars(transform = schema::between("100ms", "5m"))]
    pub handshake_timeout: Seconds,
    /// How long a client has from the upgrade to its `auth` frame, when it brought no token.
    #[schemars(transform = schema::between("100ms", "5m"))]
    pub auth_timeout: Seconds,
}

impl SecurityConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if self.enable_ip_whitelist && self.whitelist_ips.is_empty() {
            problems.invalid(
                join(at, "whitelistIps"),
                format!(
                    "must not be empty when {at}.enableIpWhitelist is set: nobody would get in"
                ),
            );
        }
        self.jwt.rules(&join(at, "jwt"), problems);
    }
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            enable_auth: true,
            enable_encryption: false,
            enable_rate_limit: true,
            max_message_size: KibSize::from_kib(1024),
            allowed_user_types: ["customer", "agent", "admin"].map(str::to_owned).to_vec(),
            enable_ip_whitelist: false,
            whitelist_ips: Vec::new(),
            blocked_ips: Vec::new(),
            trusted_proxies: Vec::new(),
            token_expiration: Seconds::from_secs(3600),
            max_connections_per_address: 0,
            max_handshakes_per_address: 256,
            max_login_attempts: 5,
            login_lock_duration: Seconds::from_secs(300),
            message_rate_limit: MessageRateLimitConfig::default(),
            jwt: JwtConfig::default(),
            encryption_key_secret_ref: None,
            api_key_secret_ref: None,
            allow_query_token: false,
            handshake_timeout: Seconds::from_secs(10),
            auth_timeout: Seconds::from_secs(10),
        }
    }
}

/// How much a user may send: all sessions together, on all nodes; and each of them. Pings, acknowledgements and positions are not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct MessageRateLimitConfig {
    /// The time over which messages are counted.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub window: Seconds,
    /// The most messages of a user within the window.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_messages: u32,
    /// The most bytes of a user's messages within the window. 0: no limit.
    #[schemars(transform = schema::between("0B", "1GiB"))]
    pub max_bytes: ByteSize,
    /// The most messages from one address within the window, whoever sends them. 0: no limit.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub max_messages_per_address: u32,
    /// The most messages of one session within the window. 0: as many as its user may send.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub max_messages_per_session: u32,
    /// The most bytes of one session's messages within the window. 0: as many as its user may send.
    #[schemars(transform = schema::between("0B", "1GiB"))]
    pub max_bytes_per_session: ByteSize,
    /// How long who exceeded a limit is refused. 0: until the window has room again.
    #[schemars(transform = schema::between("0s", "24h"))]
    pub block_duration: Seconds,
}

impl Default for MessageRateLimitConfig {
    fn default() -> Self {
        Self {
            window: Seconds::from_secs(60),
            max_messages: 100,
            max_bytes: ByteSize::default(),
            max_messages_per_address: 0,
            max_messages_per_session: 0,
            max_bytes_per_session: ByteSize::default(),
            block_duration: Seconds::from_secs(0),
        }
    }
}
