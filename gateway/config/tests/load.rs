//! File, environment and flags become one configuration, or a list of everything that is wrong with them.

// Helpers of tests may fail loudly; clippy only knows that of the tests themselves.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use wsc_config::{ConfigError, GatewayConfig, NodeDiscovery, Seconds, SlowConsumerPolicy};

fn load(file: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<GatewayConfig, ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    GatewayConfig::load(Some(file), env, &sets)
}

/// What a user is told, line by line.
fn told(file: &str, env: &[(&str, &str)], sets: &[&str]) -> Vec<String> {
    let error = load(file, env, sets).expect_err("a wrong configuration");
    error.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn nothing_at_all_is_the_default() {
    assert_eq!(
        GatewayConfig::load(None, [], &[]).unwrap(),
        GatewayConfig::default()
    );
    assert_eq!(load("", &[], &[]).unwrap(), GatewayConfig::default());
    assert_eq!(
        load("wsc:\n  security:\nhttp: ~\n", &[], &[]).unwrap(),
        GatewayConfig::default()
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "http: {port: 1}\ngrpc: {port: 2}\nadmin: {port: 3}\nwsc: {nodePort: 4}";
    let env = [
        ("WSC__GRPC__PORT", "20"),
        ("WSC__ADMIN__PORT", "30"),
        ("WSC__WSC__NODE_PORT", "40"),
    ];
    let config = load(
        file,
        &env,
        &["admin.port=300", "wsc.nodePort=400", "wsc.nodePort=401"],
    )
    .unwrap();
    let ports = (
        config.http.port,
        config.grpc.port,
        config.admin.port,
        config.wsc.node_port,
    );
    assert_eq!(ports, (1, 20, 300, 401));
}

#[test]
fn sections_are_merged_key_by_key_and_lists_are_replaced() {
    let file = "wsc:\n  security:\n    allowedUserTypes: [a, b]\n    enableAuth: false\n";
    let env = [
        (
            "WSC__WSC__SECURITY",
            "{allowQueryToken: true, authTimeout: 3s}",
        ),
        ("WSC__WSC__SECURITY__AUTH_TIMEOUT", "4s"),
        ("WSC__WSC__SECURITY__ALLOWED_USER_TYPES", "c, d"),
    ];
    let security = load(file, &env, &[]).unwrap().wsc.security;
    assert_eq!(security.allowed_user_types, ["c", "d"]);
    assert!(!security.enable_auth && security.allow_query_token);
    assert_eq!(security.auth_timeout, Seconds::from_secs(4));
}

#[test]
fn texts_are_read_as_what_the_key_is() {
    let sets = [
        "gateway.version=1.10",
        "gateway.environment=true",
        "wsc.heartbeatInterval=15",
        "wsc.clientTimeout=1m",
        "wsc.ack.backoffFactor=3",
        "wsc.enabled=false",
        "wsc.nodeIp=::1",
        "wsc.websocketOrigins=*.example.com,https://a.example",
        "wsc.security.blockedIps=[10.0.0.0/8]",
        "wsc.slowConsumerPolicy.agent=dropOldest",
        "wsc.slowConsumerPolicy={customer: dropNewest}",
        "wsc.distributed.nodeDiscovery=memory",
        "wsc.redis.passwordSecretRef={name: redis, key: password}",
    ];
    let config = load(
        "",
        &[("WSC__WSC__SLOW_CONSUMER_POLICY__ADMIN", "spill")],
        &sets,
    )
    .unwrap();
    assert_eq!(
        (
            config.gateway.version.as_str(),
            config.gateway.environment.as_str()
        ),
        ("1.10", "true")
    );
    assert_eq!(config.wsc.heartbeat_interval, Seconds::from_secs(15));
    assert_eq!(config.wsc.websocket_origins.len(), 2);
    assert_eq!(config.wsc.slow_consumer("admin"), SlowConsumerPolicy::Spill);
    assert_eq!(
        config.wsc.slow_consumer("agent"),
        SlowConsumerPolicy::DropOldest
    );
    assert_eq!(
        config.wsc.slow_consumer("customer"),
        SlowConsumerPolicy::DropNewest
    );
    assert_eq!(
        config.wsc.slow_consumer("nobody"),
        SlowConsumerPolicy::Disconnect
    );
    assert_eq!(config.wsc.distributed.node_discovery, NodeDiscovery::Memory);
    assert_eq!(
        config.wsc.redis.password_secret_ref.unwrap().key,
        "password"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_origin() {
    let file = "wsc:\n  nodePort: 70000\n  clientTimeout: 20s\n  security:\n    blockedIps:\n      - 10.0.0.0/33\n";
    let env = [("WSC__GRPC__REFLECTION", "yes")];
    assert_eq!(
        told(file, &env, &["log.level=loud"]),
        [
            "grpc.reflection: must be a boolean, is the string `yes` (environment variable WSC__GRPC__REFLECTION)",
            "log.level: must be one of error, warn, info, debug, trace, is `loud` (--set log.level)",
            "wsc.nodePort: must be between 1 and 65535, is 70000 (file line 2, column 13)",
            "wsc.security.blockedIps[0]: `10.0.0.0/33` is not a range of addresses such as `10.0.0.0/8`, \
             `2001:db8::/32` or a single address (file line 6, column 9)",
        ]
    );
}

#[test]
fn bounds_and_conditions_between_keys_are_told_together() {
    let file = "wsc:\n  messageBufferSize: 0\n  clientTimeout: 20s\n  sse: {timeout: 10s}\n";
    assert_eq!(
        told(file, &[], &["drain.window=2m"]),
        [
            "drain.deadline: must be at least drain.unreadyDelay and drain.window together (125s), is 1m",
            "wsc.clientTimeout: must exceed wsc.heartbeatInterval (30s), is 20s (file line 3, column 18)",
            "wsc.messageBufferSize: must be between 1 and 65536, is 0 (file line 2, column 22)",
            "wsc.sse.timeout: must exceed wsc.sse.heartbeat (30s), is 10s (file line 4, column 18)",
        ]
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let file = "wsc:\n  heartBeatInterval: 10s\n  security: {max_message_size: 1}\ncolour: red\n";
    let env = [
        ("WSC__WSC__NODEPORT", "1"),
        ("WSC__LOG__LEVEL__MORE", "1"),
        ("WSC__", "1"),
        ("WSC_PORT", "1"),
    ];
    assert_eq!(
        told(file, &env, &["wsc.redis.hots=x", "wsc", "=1"]),
        [
            "unknown key  (environment variable WSC__)",
            "unknown key  (--set )",
            "unknown key colour (file line 4, column 9)",
            "unknown key log.level.more (environment variable WSC__LOG__LEVEL__MORE)",
            "wsc: wants a value, as in `key.path=value` (--set wsc)",
            "unknown key wsc.heartBeatInterval, did you mean wsc.heartbeatInterval (file line 2, column 22)",
            "unknown key wsc.nodeport, did you mean wsc.nodePort (environment variable WSC__WSC__NODEPORT)",
            "unknown key wsc.redis.hots, did you mean wsc.redis.host (--set wsc.redis.hots)",
            "unknown key wsc.security.max_message_size, did you mean wsc.security.maxMessageSize (file line 3, column 32)",
        ]
    );
}

#[test]
fn a_value_that_a_flag_replaced_is_the_flags() {
    let lines = told(
        "wsc:\n  security:\n    blockedIps: [xx]\n",
        &[],
        &["wsc.security.blockedIps=yy"],
    );
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("wsc.security.blockedIps[0]: `yy`"),
        "{lines:?}"
    );
    assert!(
        lines[0].ends_with("(--set wsc.security.blockedIps)"),
        "{lines:?}"
    );
}

#[test]
fn wrong_types_are_named_by_what_they_should_be() {
    let file = "wsc:\n  enabled: 1\n  path: 5\n  ack: [1]\n  websocketOrigins: x\n  clientTimeout: 1.5\n  sse: {path: x}\n";
    let lines = told(file, &[], &[]);
    let starts = [
        "wsc.ack: must be an object, is an array",
        "wsc.clientTimeout: invalid type: floating point `1.5`, expected a duration such as `30s`, or an integer of seconds",
        "wsc.enabled: must be a boolean, is 1",
        "wsc.path: must be a string, is 5",
        "wsc.sse.path: must match `^/[A-Za-z0-9._~/-]*$`, is `x`",
        "wsc.websocketOrigins: must be an array, is the string `x`",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
}

#[test]
fn a_secret_reference_must_be_whole() {
    let lines = told("wsc: {redis: {passwordSecretRef: {name: Redis}}}", &[], &[]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("wsc.redis.passwordSecretRef.key: is required"));
    assert!(lines[1].starts_with("wsc.redis.passwordSecretRef.name: must match"));
}

#[test]
fn a_text_that_is_not_yaml_is_refused_with_the_place() {
    let error = load("wsc:\n  nodePort: [1\n", &[], &[]).expect_err("not YAML");
    assert!(
        matches!(error, ConfigError::Syntax { line: 2.., .. }),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("file line "), "{error}");
    assert!(matches!(
        load("a: 1\na: 2\n", &[], &[]),
        Err(ConfigError::Syntax { line: 2, .. })
    ));
    assert_eq!(
        told("- a\n", &[], &[]),
        ["configuration: must be an object of keys"]
    );
}

#[test]
fn port_0_is_any_free_port_in_a_file() {
    let file = "http: {port: 0}\ngrpc: {port: 0}\nadmin: {port: 0}\nwsc: {nodePort: 0}";
    load(file, &[], &[]).unwrap().validate().unwrap();
}

#[test]
fn listeners_must_not_want_the_same_port() {
    assert_eq!(
        told("http: {port: 8081}", &[], &[]),
        ["http.port: must differ from wsc.nodePort, is 8081 (file line 1, column 14)"]
    );
    load("http: {port: 8081}\nwsc: {enabled: false}", &[], &[]).unwrap();
    load(
        "http: {port: 9, host: 127.0.0.1}\nadmin: {port: 9, host: 127.0.0.2}",
        &[],
        &[],
    )
    .unwrap();
}

#[test]
fn a_cluster_by_redis_needs_a_redis() {
    let lines = told("wsc: {distributed: {enabled: true}}", &[], &[]);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("wsc.redis.host: must name the Redis"),
        "{lines:?}"
    );
    let etcd =
        "wsc: {distributed: {enabled: true, nodeDiscovery: etcd, etcd: {endpoints: [e:2379]}}}";
    let lines = told(etcd, &[], &[]);
    assert!(
        lines[0].contains("nodeDiscovery `etcd` needs"),
        "sessions and logs stay in Redis: {lines:?}"
    );
    load(
        "wsc: {distributed: {enabled: true}, redis: {host: r}}",
        &[],
        &[],
    )
    .unwrap();
    load(
        "wsc: {distributed: {enabled: true, nodeDiscovery: memory}}",
        &[],
        &[],
    )
    .unwrap();
}

#[test]
fn values_never_show_in_what_is_told_of_unknown_keys() {
    let lines = told(
        "wsc: {redis: {password: hunter2}}",
        &[("WSC__WSC__REDIS__PASS", "hunter2")],
        &["wsc.redis.auth=hunter2"],
    );
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().all(|line| !line.contains("hunter2")),
        "{lines:?}"
    );
}

#[test]
fn validate_finds_in_a_built_value_what_load_finds_in_a_file() {
    let mut config = GatewayConfig::default();
    config.wsc.path = "ws".to_owned();
    config.wsc.client_timeout = Seconds::from_secs(20);
    config.wsc.performance.compression_level = 10;
    config
        .wsc
        .slow_consumer_policy
        .insert("nobody".to_owned(), SlowConsumerPolicy::Spill);
    let paths = |problems: wsc_config::Problems| -> Vec<String> {
        problems
            .iter()
            .map(|problem| problem.path.clone())
            .collect()
    };
    let expected = [
        "wsc.clientTimeout",
        "wsc.path",
        "wsc.performance.compressionLevel",
        "wsc.slowConsumerPolicy",
    ];
    assert_eq!(paths(config.validate().expect_err("wrong")), expected);
    assert_eq!(paths(config.wsc.validate().expect_err("wrong")), expected);
}
