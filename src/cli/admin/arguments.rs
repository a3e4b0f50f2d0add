//! Options of the commands that ask a running server.

use std::fs;
use std::path::{Path, PathBuf};

use super::client::{AdminClient, AdminPlace};
use super::error::AdminError;
use crate::config::Environment;

/// Address of the admin listener if none is named: the one that the documents use.
const DEFAULT_PLACE: &str = "127.0.0.1:8078";

/// The admin listener to ask, and the token that it wants.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AdminArgs {
    /// Admin listener of the server: HOST:PORT or http://HOST:PORT [env: MLES_ADMIN] [default:
    /// 127.0.0.1:8078]
    #[arg(long, short, value_name = "ADDRESS")]
    admin: Option<String>,

    /// File with the token that the listener wants, on one line [env: MLES_ADMIN_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// Creates the client that these options and the environment describe.
    pub(in crate::cli) fn client(&self) -> Result<AdminClient, AdminError> {
        let environment = Environment::of_process();
        let place = match &self.admin {
            Some(place) => place.clone(),
            None => place_of(&environment)?,
        };
        let file = match &self.admin_token_file {
            Some(file) => Some(file.clone()),
            None => environment.get("MLES_ADMIN_TOKEN_FILE").map(PathBuf::from),
        };
        let token = file.as_deref().map(read_token).transpose()?;
        AdminClient::new(place.parse::<AdminPlace>()?, token)
    }
}

/// Returns the listener that the environment names: the first, where the server has several.
fn place_of(environment: &Environment) -> Result<String, AdminError> {
    let found = environment.text("MLES_ADMIN");
    let found = found.map_err(|problem| AdminError::Environment(problem.to_string()))?;
    let first = found.and_then(|(text, _)| text.split(',').map(str::trim).next());
    Ok(first.unwrap_or(DEFAULT_PLACE).to_owned())
}

/// Returns the token in a file, without the end of its line.
fn read_token(path: &Path) -> Result<String, AdminError> {
    let text = fs::read_to_string(path).map_err(|source| AdminError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(AdminError::NoToken(path.to_owned()));
    }
    Ok(token.to_owned())
}
