//! Links from one place of the documents to another.

use std::path::{Component, Path, PathBuf};

use super::checkout;
use super::documents::{markdown, prose, read};

/// Returns the targets of links in a text.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// Returns the name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let name: String = heading.chars().filter(kept).collect();
    name.trim().to_lowercase().replace(' ', "-")
}

fn anchors(file: &str) -> Vec<String> {
    let text = read(file);
    let lines = prose(&text);
    let headings = lines.iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// Returns the path from the top of the checkout that a link in `file` leads to.
fn target(file: &str, path: &str) -> PathBuf {
    let folder = Path::new(file).parent().unwrap();
    let mut target = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => assert!(target.pop(), "{file}: {path} leads out"),
            part => target.push(part),
        }
    }
    target
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for file in markdown() {
        let text = read(&file);
        let lines = prose(&text);
        for link in lines.iter().flat_map(|line| links(line)) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() {
                PathBuf::from(&file)
            } else {
                target(&file, path)
            };
            assert!(checkout().join(&to).exists(), "{file}: no {link}");
            if !heading.is_empty() {
                let known = anchors(to.to_str().unwrap());
                let is_known = known.iter().any(|known| known == heading);
                assert!(is_known, "{file}: {link} names no heading: {known:#?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 0, "no document has a link");
}
