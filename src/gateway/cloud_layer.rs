//! What the cloud sent, as it is kept in the state directory, so that a node starts with the last
//! good configuration while the cloud cannot be reached.
//!
//! One file holds the texts and the ids of the changes that were applied: both change in one write.
//! Not here: what the texts mean (the configuration room).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::CloudText;
use private_files::StateDir;

/// The form of the file.
const VERSION: u32 = 1;
/// Its name in the state directory.
const FILE: &str = "cloud.json";
/// Largest text of one change, in bytes.
const MAX_TEXT: usize = 1024 * 1024;
/// Most texts at a time.
const MAX_TEXTS: usize = 256;
/// All texts together, in bytes.
const MAX_ALL: usize = 8 * MAX_TEXT;
/// How many ids of applied changes are remembered.
const MAX_APPLIED: usize = 1024;
/// JSON may write one byte as six.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// A change that the cloud sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChange {
    /// The whole of what the cloud has for this gateway.
    Gateway {
        /// Its text.
        toml: String,
    },
    /// One pipeline with what belongs to it.
    Pipeline {
        /// The cloud's id of the pipeline; without one, the names of the pipelines in the text
        /// stand for it.
        id: Option<String>,
        /// Its text.
        toml: String,
    },
}

/// Everything that the cloud sent and that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CloudLayer {
    texts: Vec<Text>,
    applied: VecDeque<String>,
    /// Names of the pipelines that the last upload carried.
    uploaded: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    change: String,
    /// What the next text for the same pipeline has too; `None` for a whole gateway.
    key: Option<String>,
    /// Names of the pipelines in it.
    pipelines: Vec<String>,
    toml: String,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    texts: Vec<Text>,
    applied: VecDeque<String>,
    #[serde(default)]
    uploaded: Vec<String>,
}

/// Why a change cannot become part of the layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerError {
    #[error("is {0} bytes long, more than 1 MiB")]
    TooLong(usize),
    #[error("is not TOML: {0}")]
    Syntax(String),
    #[error("holds no pipeline")]
    Empty,
    #[error(
        "there are {MAX_TEXTS} texts from the cloud already, or 8 MiB of them; send one for the \
         whole gateway, or discard them"
    )]
    Full,
}

impl CloudLayer {
    /// The texts in the order in which they came, a whole gateway first.
    pub(super) fn texts(&self) -> Vec<CloudText<'_>> {
        let texts = self.texts.iter();
        texts
            .map(|text| CloudText {
                change: &text.change,
                whole: text.key.is_none(),
                toml: &text.toml,
                uploaded: &self.uploaded,
            })
            .collect()
    }

    /// Whether nothing of the cloud's counts.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether a change was applied, as far back as that is remembered.
    pub(super) fn has_applied(&self, change: &str) -> bool {
        self.applied.iter().any(|applied| applied == change)
    }

    /// The layer after a change.
    pub(super) fn with(&self, id: &str, change: LayerChange) -> Result<Self, LayerError> {
        let mut layer = self.clone();
        let text = Text::new(id, change)?;
        match &text.key {
            None => layer.texts.clear(),
            Some(key) => {
                let replaces = |old: &Text| {
                    let covered = old
                        .pipelines
                        .iter()
                        .all(|name| text.pipelines.contains(name));
                    old.key.as_ref() == Some(key) || old.key.is_some() && covered
                };
                layer.texts.retain(|old| !replaces(old));
            }
        }
        layer.texts.push(text);
        let bytes: usize = layer.texts.iter().map(|text| text.toml.len()).sum();
        if layer.texts.len() > MAX_TEXTS || bytes > MAX_ALL {
            return Err(LayerError::Full);
        }
        layer.applied.retain(|applied| applied != id);
        layer.applied.push_back(id.to_owned());
        while layer.applied.len() > MAX_APPLIED {
            layer.applied.pop_front();
        }
        Ok(layer)
    }

    /// The layer without any text. The changes were applied all the same.
    pub(super) fn without_texts(&self) -> Self {
        Self {
            texts: Vec::new(),
            ..self.clone()
        }
    }

    /// The layer after an upload of pipelines of these names.
    pub(super) fn with_uploaded(&self, uploaded: Vec<String>) -> Self {
        Self {
            uploaded,
            ..self.clone()
        }
    }

    /// Reads what was kept; an empty layer where nothing was.
    ///
    /// # Errors
    ///
    /// Why the file cannot be used.
    pub(super) fn read(state_dir: &Path) -> io::Result<Self> {
        let directory = StateDir::open(state_dir).map_err(io::Error::other)?;
        let read = |directory: StateDir| directory.read(FILE, MAX_FILE);
        let content = directory.map_or(Ok(None), read);
        let Some(content) = content.map_err(io::Error::other)? else {
            return Ok(Self::default());
        };
        let version = serde_json::from_slice::<serde_json::Value>(&content)?["version"].as_u64();
        if version != Some(VERSION.into()) {
            let version = version.map_or("no".to_owned(), |version| version.to_string());
            return Err(io::Error::other(format!(
                "it has version {version}, not {VERSION}"
            )));
        }
        let file: File = serde_json::from_slice(&content)?;
        Ok(Self {
            texts: file.texts,
            applied: file.applied,
            uploaded: file.uploaded,
        })
    }

    /// Keeps it: the old file or the new one is there at any moment.
    ///
    /// # Errors
    ///
    /// What the system says, or why the next start would not believe what it finds in this
    /// directory; then the old file is there.
    pub(super) fn write(&self, state_dir: &Path) -> io::Result<()> {
        StateDir::open(state_dir).map_err(io::Error::other)?;
        let file = File {
            version: VERSION,
            texts: self.texts.clone(),
            applied: self.applied.clone(),
            uploaded: self.uploaded.clone(),
        };
        private_files::replace(&state_dir.join(FILE), &serde_json::to_vec(&file)?)
    }

    /// Gives a file that cannot be used another name; that name.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn move_away(state_dir: &Path) -> io::Result<PathBuf> {
        let free = |number: &u32| !state_dir.join(away(*number)).exists();
        let number = (1..1000).find(free).unwrap_or(1000);
        let path = state_dir.join(away(number));
        fs::rename(state_dir.join(FILE), &path)?;
        Ok(path)
    }
}

fn away(number: u32) -> String {
    format!("{FILE}.broken-{number}")
}

impl Text {
    fn new(id: &str, change: LayerChange) -> Result<Self, LayerError> {
        let (key, toml) = match change {
            LayerChange::Gateway { toml } => (None, toml),
            LayerChange::Pipeline { id, toml } => (Some(id), toml),
        };
        if toml.len() > MAX_TEXT {
            return Err(LayerError::TooLong(toml.len()));
        }
        let syntax =
            |error: toml::de::Error| LayerError::Syntax(error.message().replace('\n', ", "));
        let table: toml::Table = toml.parse().map_err(syntax)?;
        let pipelines = table.get("pipelines").and_then(toml::Value::as_table);
        let pipelines: Vec<String> = pipelines
            .into_iter()
            .flat_map(toml::Table::keys)
            .cloned()
            .collect();
        if key.is_some() && pipelines.is_empty() {
            return Err(LayerError::Empty);
        }
        let key = key.map(|id| match id {
            Some(id) => format!("id {id}"),
            None => format!("names {}", pipelines.join(", ")),
        });
        Ok(Self {
            change: id.to_owned(),
            key,
            pipelines,
            toml,
        })
    }
}
