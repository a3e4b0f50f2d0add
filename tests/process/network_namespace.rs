//! A network of its own for a broker: a namespace, with a cable to the test's.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::broker_process::BrokerProcess;

/// A namespace for a broker, and a cable from there to here. Gone when it is dropped.
pub struct Cable {
    namespace: String,
    link: String,
    /// Cables have the same names, and may have the same addresses.
    _alone: MutexGuard<'static, ()>,
}

impl Cable {
    /// Lays one for the test of that name, with addresses of the broker's end and of this one, each
    /// with the length of its prefix. `None` where it cannot be had, which is told.
    pub fn lay(test: &str, there: &[&str], here: &[&str]) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let id = std::process::id();
        let cable = Self {
            namespace: format!("mles-{id}"),
            link: format!("mles{id}"),
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        if cable.is_laid(there, here) {
            return Some(cable);
        }
        eprintln!("SKIPPED {test}: needs root, `ip` and veth");
        None
    }

    fn is_laid(&self, there: &[&str], here: &[&str]) -> bool {
        let (namespace, link) = (&self.namespace, &self.link);
        let mut steps = vec![
            format!("netns add {namespace}"),
            format!("link add {link} type veth peer name eth0 netns {namespace}"),
        ];
        for at in there {
            let now = at_once(at);
            steps.push(format!("-n {namespace} address add {at} dev eth0{now}"));
        }
        for at in here {
            let now = at_once(at);
            steps.push(format!("address add {at} dev {link}{now}"));
        }
        steps.push(format!("-n {namespace} link set eth0 up"));
        steps.push(format!("link set {link} up"));
        steps.iter().all(|step| ip(step))
    }

    /// Starts a broker at the other end: see [`BrokerProcess::start`].
    pub fn broker(&self, module: &str, role: &str) -> BrokerProcess {
        let inside = format!("exec ip netns exec {} \"$0\" \"$@\"", self.namespace);
        BrokerProcess::start_after(&inside, module, role)
    }

    /// This end has the address `to` from now on, and nobody has `from`.
    pub fn change_address(&self, from: &str, to: &str) {
        let link = &self.link;
        assert!(ip(&format!("address del {from} dev {link}")));
        assert!(ip(&format!("address add {to} dev {link}")));
    }

    /// From now on nothing comes through, and neither side is told.
    pub fn pull(&self) {
        assert!(ip(&format!("link set {} down", self.link)));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.namespace));
    }
}

/// What lets an address be used without a wait for another host that might have it.
fn at_once(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    status.is_ok_and(|status| status.success())
}
