//! Finds what would keep a broker from starting, without starting one.
//!
//! The checks are those of a start, and made by the same functions. Ports are the exception: those
//! of a running broker are taken, so only addresses are tried, not ports.

use std::path::PathBuf;
use std::sync::Arc;

use super::StartError;
use crate::protocol::HEADER_LEN;
use crate::settings::{Settings, TlsSettings};
use crate::tls::{PairFiles, ServerTls, TlsError};

/// Loads the certificates of the TLS listeners, if there are any.
pub(super) fn server_tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>, TlsError> {
    let files = tls_files(settings)?;
    let tls = files.map(|(pair, client_ca)| ServerTls::new(pair, client_ca));
    tls.transpose()
}

/// Returns the files of the TLS listeners, if there are any: the pair, and the authorities of clients.
pub(super) fn tls_files(
    settings: &Settings,
) -> Result<Option<(PairFiles, Option<PathBuf>)>, TlsError> {
    if settings.tls.listen.is_empty() && settings.websocket.tls_listen.is_empty() {
        return Ok(None);
    }
    let TlsSettings {
        cert,
        key,
        client_ca,
        ..
    } = settings.tls.clone();
    let pair = PairFiles::of(cert, key)?.ok_or(TlsError::HalfAPair)?;
    Ok(Some((pair, client_ca)))
}

/// Checks that a frame has room for more than its header.
pub(super) fn check_frame(settings: &Settings) -> Result<(), StartError> {
    let max_frame = settings.limits.max_frame;
    if max_frame <= HEADER_LEN {
        return Err(StartError::MaxFrame(max_frame));
    }
    Ok(())
}

/// Tries the congestion control of the settings on a socket of its own.
pub(super) fn check_congestion(settings: &Settings) -> Result<(), StartError> {
    #[cfg(target_os = "linux")]
    if let Some(name) = &settings.limits.tcp_congestion {
        use socket2::{Domain, Socket, Type};

        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)
            .or_else(|_| Socket::new(Domain::IPV6, Type::STREAM, None));
        let tried = socket.and_then(|socket| socket.set_tcp_congestion(name.as_bytes()));
        tried.map_err(|error| StartError::Congestion {
            name: name.clone(),
            reason: linux::why_no_congestion(&error),
        })?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = settings;
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    /// Puts the refusal of a congestion control in words, with what there is instead.
    pub(super) fn why_no_congestion(error: &io::Error) -> String {
        let known = |file: &str| {
            let path = format!("/proc/sys/net/ipv4/tcp_{file}_congestion_control");
            std::fs::read_to_string(path).map_or_else(
                |_| String::new(),
                |names| format!("; there is {}", names.trim().replace(' ', ", ")),
            )
        };
        match error.kind() {
            io::ErrorKind::NotFound => {
                format!("the kernel does not have it{}", known("available"))
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "the system does not let everybody use it{}",
                    known("allowed")
                )
            }
            _ => error.to_string(),
        }
    }
}

#[cfg(feature = "cli")]
pub(crate) use all::preflight;

#[cfg(feature = "cli")]
mod all {
    use std::net::{SocketAddr, ToSocketAddrs as _};
    use std::path::Path;
    use std::sync::mpsc::channel;
    use std::time::{Duration, SystemTime};

    use super::super::listening::{addresses_by_kind, check_listener};
    use super::super::shard_count;
    use super::super::stored::check_directory;
    use super::{Settings, TlsError, check_congestion, server_tls};
    use crate::net::check_address;
    use crate::server_name::ServerName;
    use crate::settings::ListenerKind;

    /// Longest time for looking up all names together.
    const LOOKUP: Duration = Duration::from_secs(10);

    /// Findings of a check.
    #[derive(Debug, Default)]
    pub(crate) struct Preflight {
        /// Reasons why a start would fail, each with the options that it may come from.
        pub(crate) problems: Vec<(Vec<&'static str>, String)>,
        /// Settings that are allowed but probably not meant.
        pub(crate) warnings: Vec<String>,
    }

    /// Checks what a start with these settings would need.
    pub(crate) fn preflight(settings: &Settings) -> Preflight {
        let mut found = Preflight::default();
        if let Err(error) = shard_count(settings) {
            found.add(&["shards"], &error);
        }
        if let Err(error) = check_congestion(settings) {
            found.add(&["tcp_congestion"], &error);
        }
        let store = &settings.store.dir;
        let store = store.iter().filter(|_| settings.channels.need_store());
        for error in store.filter_map(|dir| check_directory(dir).err()) {
            found.add(&["store_dir"], &error);
        }
        found.certificates(settings);
        for (kind, addresses) in addresses_by_kind(settings) {
            for &address in addresses {
                found.listener(settings, kind, address);
            }
        }
        for &address in &settings.admin.listen {
            if let Err(error) = check_address(address) {
                found.add(&["admin"], &error);
            }
        }
        let upstreams = settings.peer.upstreams.iter();
        let upstreams = upstreams.map(|name| ("peer", "upstream", name));
        let fleet = settings.fleet.servers.iter();
        let fleet = fleet.map(|server| ("fleet", "NATS server", server.name()));
        found.look_up(&upstreams.chain(fleet).collect::<Vec<_>>());
        found
    }

    impl Preflight {
        fn add(&mut self, options: &[&'static str], error: &dyn std::fmt::Display) {
            self.problems.push((options.to_vec(), error.to_string()));
        }

        fn certificates(&mut self, settings: &Settings) {
            let now = SystemTime::now();
            let own = &settings.tls;
            match server_tls(settings) {
                Ok(tls) => self
                    .warnings
                    .extend(tls.iter().flat_map(|tls| tls.warnings(now))),
                Err(error) => self.tls(
                    &error,
                    &[
                        ("tls_cert", own.cert.as_deref()),
                        ("tls_key", own.key.as_deref()),
                        ("tls_client_ca", own.client_ca.as_deref()),
                    ],
                ),
            }
            let clients = [
                (
                    settings.peer.client_tls(),
                    &settings.peer.tls,
                    ["peer_ca", "peer_client_cert", "peer_client_key"],
                ),
                (
                    settings.fleet.client_tls(),
                    &settings.fleet.tls,
                    ["fleet_ca", "fleet_client_cert", "fleet_client_key"],
                ),
            ];
            for (tls, options, [ca, cert, key]) in clients {
                let files = [
                    (ca, options.ca.as_deref()),
                    (cert, options.cert.as_deref()),
                    (key, options.key.as_deref()),
                ];
                match tls {
                    Ok(tls) => self
                        .warnings
                        .extend(tls.iter().flat_map(|tls| tls.warnings(now))),
                    Err(error) => self.tls(&error, &files),
                }
            }
        }

        /// Blames the option that names the file.
        fn tls(&mut self, error: &TlsError, files: &[(&'static str, Option<&Path>)]) {
            let named = files
                .iter()
                .filter(|(_, file)| file.is_some() && *file == error.path())
                .map(|(option, _)| *option);
            self.problems.push((named.collect(), error.to_string()));
        }

        fn listener(&mut self, settings: &Settings, kind: ListenerKind, address: SocketAddr) {
            let option = match kind {
                ListenerKind::Mles => "listen",
                ListenerKind::MlesTls => "tls",
                ListenerKind::WebSocket => "ws",
                ListenerKind::WebSocketTls => "tls_ws",
            };
            if let Err(error) = check_listener(settings, address, kind) {
                self.add(&[option], &error);
            }
            if let Err(error) = check_address(address) {
                self.add(&[option], &error);
            }
            // The server may have privileges that whoever checks has not.
            if is_privileged(address.port()) {
                self.warnings.push(format!(
                    "{address}: the server needs the privilege to listen on that port \
                     (CAP_NET_BIND_SERVICE), which this user does not have"
                ));
            }
        }

        /// Looks all names up at once: one that takes long does not add to another.
        fn look_up(&mut self, servers: &[(&'static str, &str, &ServerName)]) {
            let (results, found) = channel();
            for (i, (.., server)) in servers.iter().enumerate() {
                let (results, server) = (results.clone(), (*server).clone());
                std::thread::spawn(move || {
                    let address = (server.host(), server.port()).to_socket_addrs();
                    let reason = match address.map(|mut addresses| addresses.next()) {
                        Ok(Some(_)) => None,
                        Ok(None) => Some("it has no address".to_owned()),
                        Err(error) => Some(error.to_string()),
                    };
                    // Nobody waits for it any more.
                    let _ = results.send((i, reason));
                });
            }
            drop(results);
            let deadline = std::time::Instant::now() + LOOKUP;
            let late = format!("no answer within {LOOKUP:?}");
            let mut reasons = vec![Some(late); servers.len()];
            while let Ok((i, reason)) =
                found.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now()))
            {
                reasons[i] = reason;
            }
            for ((option, kind, server), reason) in servers.iter().zip(reasons) {
                if let Some(reason) = reason {
                    let text = format!("the {kind} {server} cannot be found: {reason}");
                    self.problems.push((vec![option], text));
                }
            }
        }
    }
    /// Returns `true` if this process could not listen on that port.
    #[cfg(target_os = "linux")]
    fn is_privileged(port: u16) -> bool {
        const NET_BIND_SERVICE: u64 = 1 << 10;
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let first = read("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1024);
        let status = read("/proc/self/status").unwrap_or_default();
        let mut lines = status.lines();
        let capabilities = lines
            .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        (1..first).contains(&port) && capabilities.is_some_and(|all| all & NET_BIND_SERVICE == 0)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_privileged(_: u16) -> bool {
        false
    }
}
