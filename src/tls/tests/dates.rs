//! Certificates that are out of date, or will be soon.

use std::time::SystemTime;

use super::*;
use crate::tls::watch::{DailyTimer, WatchedCertificates};

const DAY: u64 = 86_400;
/// 2020-01-01, when [`long_ago`] begins.
const BEGIN: u64 = 1_577_836_800;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Makes a certificate one that is valid from 2020-01-01 for 100 days.
fn for_100_days(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 4, 10);
}

#[test]
fn a_certificate_is_told_two_weeks_before_it_expires_and_after() {
    let authority = Authority::new("authority");
    let pair = authority.sign("server", &["localhost"], for_100_days);
    let tls = load(&pair).unwrap();
    let path = pair.cert.display();
    let said = |seconds| tls.warnings(at(seconds)).join("\n");
    let end = BEGIN + 100 * DAY;
    assert_eq!(
        said(BEGIN - 7200),
        format!(
            "the certificate in {path} is not valid before 2 hours from now: clients will refuse it"
        )
    );
    assert_eq!(said(BEGIN + 60), "");
    assert_eq!(said(end - 14 * DAY - 60), "");
    assert_eq!(
        said(end - 13 * DAY),
        format!("the certificate in {path} expires in 13 days: renew it in time")
    );
    assert_eq!(
        said(end + 3 * DAY),
        format!("the certificate in {path} has expired 3 days ago: clients will refuse it")
    );
}

#[test]
fn authorities_of_clients_and_what_links_need_are_looked_at_too() {
    let authority = Authority::new("authority");
    let good = authority.localhost("good");
    let old = authority.sign("old", &["localhost"], for_100_days);
    let soon = BEGIN + 99 * DAY;
    let server = ServerTls::new(good, Some(old.cert.clone())).unwrap();
    let warnings = server.warnings(at(soon));
    let expected = format!("{} expires in 1 day: renew it in time", old.cert.display());
    // The good one has a time as well, and that is not then.
    let about_old = |all: &[String]| all.iter().filter(|w| w.contains(&expected)).count();
    assert_eq!(about_old(&warnings), 1, "{warnings:?}");

    let client = identified(&old.cert, &old);
    let warnings = client.warnings(at(soon));
    assert_eq!(about_old(&warnings), 2, "{warnings:?}");
    assert!(client.warnings(at(BEGIN + DAY)).is_empty());
}

#[test]
fn of_many_certificates_in_a_file_the_worst_is_told() {
    let authority = Authority::new("authority");
    let pair = authority.sign("server", &["localhost"], for_100_days);
    let old = authority.sign("old", &["localhost"], long_ago);
    let pem = |pair: &PairFiles| fs::read_to_string(&pair.cert).unwrap();
    let bundle = authority.path("bundle");
    fs::write(&bundle, [pem(&pair), pem(&old)].concat()).unwrap();
    let client = trusting(&bundle);
    assert_eq!(
        client.warnings(at(BEGIN + 95 * DAY)),
        [format!(
            "certificate 2 in {} has expired 94 days ago: servers that it has signed are refused; \
             1 more in that file",
            bundle.display()
        )]
    );
}

#[test]
fn days_are_counted_by_the_clock_on_the_wall() {
    let mut daily = DailyTimer::starting(at(BEGIN));
    assert!(!daily.is_due(at(BEGIN)));
    assert!(!daily.is_due(at(BEGIN + DAY - 1)));
    assert!(daily.is_due(at(BEGIN + DAY)));
    assert!(!daily.is_due(at(BEGIN + DAY + 5)));
    // The machine was asleep: once for all the days.
    assert!(daily.is_due(at(BEGIN + 10 * DAY + 9)));
    assert!(!daily.is_due(at(BEGIN + 10 * DAY + 14)));
    // The clock was wrong.
    assert!(!daily.is_due(at(0)));
    assert!(!daily.is_due(at(DAY - 1)));
    assert!(daily.is_due(at(DAY)));
}

#[test]
fn an_expired_certificate_is_no_reason_not_to_start() {
    let authority = Authority::new("authority");
    let old = authority.sign("old", &["localhost"], long_ago);
    let warnings = load(&old).unwrap().warnings(SystemTime::now());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("has expired"), "{warnings:?}");
}

#[test]
fn what_expires_is_told_every_day() {
    let authority = Authority::new("authority");
    let pair = authority.sign("server", &["localhost"], for_100_days);
    let server = load(&pair).unwrap();
    let upstream = trusting(&pair.cert);
    let start = BEGIN + 80 * DAY;
    let mut watched = WatchedCertificates::new(Some(server), Some(upstream), at(start));
    let days = [0, 1, 8, 8, 9, 30];
    let told = days.map(|day| watched.daily_warnings(at(start + day * DAY)).len());
    assert_eq!(told, [0, 0, 2, 0, 2, 2]);
}
