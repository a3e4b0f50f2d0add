//! RabbitMQ with a node, ports and files of its own, beside any other on the machine.
//!
//! `rabbitmq-server` is started without Debian's wrapper, which changes the user and the directories.
//! Told that it runs under systemd, it becomes the Erlang machine instead of waiting for it, so
//! that its process id is the one to measure and to stop.
//!
//! An Erlang node wants `epmd`, a daemon that tells nodes' ports by name, and starts one that stays. So
//! one on a port of its own is started beside, and the node is told not to start any.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::broker::program::in_path;
use crate::process::{Helper, Invocation, Place, Recipe, Version, words};

pub(super) fn amqp(program: PathBuf, place: Place<'_>) -> Recipe {
    let listener = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\ntcp_listen_options.nodelay = true\n\
         tcp_listen_options.backlog = 1024\n",
        place.port
    );
    let settings = "transient fanout exchanges, exclusive auto-delete queues, non-persistent \
                    messages, no confirms, consumers without acks; no plugins";
    recipe(program, place, &listener, "[].\n", settings)
}

pub(super) fn mqtt(program: PathBuf, place: Place<'_>) -> Recipe {
    let listener = format!(
        "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{}\n\
         mqtt.tcp_listen_options.nodelay = true\nmqtt.tcp_listen_options.backlog = 1024\n",
        place.port
    );
    let settings = "plugin rabbitmq_mqtt and no other; QoS 0, clean sessions";
    recipe(program, place, &listener, "[rabbitmq_mqtt].\n", settings)
}

fn recipe(
    program: PathBuf,
    place: Place<'_>,
    listener: &str,
    plugins: &str,
    settings: &'static str,
) -> Recipe {
    let [epmd_port, node_port] = place.spare_ports.map(|port| port.to_string());
    let file = |name: &str| place.dir.join(name);
    let (config, enabled_plugins) = (file("rabbitmq.conf"), file("enabled_plugins"));
    // Clients that a storm or a busy machine keeps waiting are not to be let go before they have begun.
    let patience = "handshake_timeout = 60000\n";
    let log = "log.file = false\nlog.console = true\nlog.console.level = warning\n";
    let env: [(&str, OsString); 14] = [
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
        // No file of a crash in the folder where loadgen was started.
        ("ERL_CRASH_DUMP_SECONDS", "0".into()),
        // The Erlang cookie is kept there.
        ("HOME", place.dir.into()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", epmd_port.clone().into()),
        ("ERL_FLAGS", "-start_epmd false".into()),
        ("RABBITMQ_NODENAME", "loadgen@localhost".into()),
        ("RABBITMQ_DIST_PORT", node_port.into()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}".into(),
        ),
        ("RABBITMQ_CONFIG_FILE", config.clone().into()),
        // Not that of /etc/rabbitmq.
        ("RABBITMQ_CONF_ENV_FILE", file("no-such-file").into()),
        (
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            enabled_plugins.clone().into(),
        ),
        ("RABBITMQ_MNESIA_BASE", file("mnesia").into()),
        ("RABBITMQ_LOG_BASE", file("logs").into()),
    ];
    let version = Version::Known(version(&program));
    Recipe {
        start: Invocation {
            program,
            args: Vec::new(),
            env: env.into(),
        },
        helper: epmd(place.spare_ports[0]),
        front: None,
        files: vec![
            (config, format!("{listener}{patience}{log}")),
            (enabled_plugins, plugins.to_owned()),
        ],
        version,
        settings,
        congestion: None,
    }
}

/// Returns `None` where `epmd` is not found: then it is not where the node would find it either.
fn epmd(port: u16) -> Option<Helper> {
    Some(Helper {
        start: Invocation {
            program: in_path("epmd")?,
            args: words(&["-port", &port.to_string(), "-address", "127.0.0.1"]),
            env: Vec::new(),
        },
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    })
}

/// Reads the version from the name of the server's folder: asking it would start another Erlang machine.
fn version(program: &Path) -> String {
    let program = program.canonicalize().unwrap_or_default();
    let folder = program.parent().and_then(Path::parent);
    let name = folder.and_then(Path::file_name).unwrap_or_default();
    let name = name.to_string_lossy();
    let version = name.strip_prefix("rabbitmq_server-");
    format!("RabbitMQ {}", version.unwrap_or("of unknown version"))
}
