//! `sandbox_write_files`, `sandbox_read_file`, `sandbox_list_files`: a sandbox's working directory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_sandbox::client::files::EntryKind;

use super::{HANDLE_BYTES_MAX, Parts, descriptor, handle_of};
use crate::error::ApiError;
use crate::tools::files::{FILES_MAX, FileArg, PATH_BYTES_MAX, decode};
use crate::tools::hash::sha256_hex;
use crate::tools::{Answer, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Largest file that is read.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// Arguments of `sandbox_write_files`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with sandbox_id and files")]
pub struct SandboxWriteFilesArgs {
    /// The sandbox, as `sandbox_create` named it.
    #[garde(length(bytes, min = 1, max = HANDLE_BYTES_MAX))]
    pub sandbox_id: String,
    /// Files placed in the working directory: at most 64, together 4 MiB. A file of the same name is
    /// replaced.
    #[garde(length(min = 1, max = FILES_MAX), dive)]
    pub files: Vec<FileArg>,
}

/// Result of `sandbox_write_files`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FilesWritten {
    /// Files written.
    pub files: usize,
    /// Bytes in them.
    pub bytes: usize,
}

/// The tool that writes.
pub(super) struct SandboxWriteFiles(pub(super) Parts);

impl TypedTool for SandboxWriteFiles {
    type Args = SandboxWriteFilesArgs;
    type Output = FilesWritten;

    fn describe(&self) -> ToolDescriptor {
        let title = "Write files into a sandbox";
        let event = EventType::DataWrite;
        descriptor("sandbox_write_files", title, WRITE, event, Effects::Durable)
    }

    fn handle_argument(&self) -> Option<&'static str> {
        Some("sandbox_id")
    }

    async fn run(
        &self,
        args: SandboxWriteFilesArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<FilesWritten>, ApiError> {
        let handle = handle_of(&args.sandbox_id)?;
        let files = decode(args.files, &[])?;
        let (count, bytes) = (files.len(), files.iter().map(|f| f.content.len()).sum::<usize>());
        let owner = call.permit.caller().id();
        self.0.sandboxes.write_files(&handle, owner, files, call.deadline).await?;
        Ok(Answer::from(FilesWritten { files: count, bytes })
            .fact("sandbox_id", args.sandbox_id)
            .fact("files", count)
            .fact("bytes", bytes))
    }
}

/// Arguments of `sandbox_read_file`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with sandbox_id and path")]
pub struct SandboxReadFileArgs {
    /// The sandbox, as `sandbox_create` named it.
    #[garde(length(bytes, min = 1, max = HANDLE_BYTES_MAX))]
    pub sandbox_id: String,
    /// Path relative to the working directory; a plain file of at most 1 MiB.
    #[garde(length(bytes, min = 1, max = PATH_BYTES_MAX))]
    pub path: String,
}

/// Result of `sandbox_read_file`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileRead {
    /// Size in bytes.
    pub size_bytes: usize,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// The content, when it is UTF-8; else null.
    pub content: Option<String>,
    /// The content in standard base64, when it is not UTF-8; else null.
    pub base64: Option<String>,
}

/// The tool that reads.
pub(super) struct SandboxReadFile(pub(super) Parts);

impl TypedTool for SandboxReadFile {
    type Args = SandboxReadFileArgs;
    type Output = FileRead;

    fn describe(&self) -> ToolDescriptor {
        let title = "Read a file of a sandbox";
        descriptor("sandbox_read_file", title, READ, EventType::DataRead, Effects::None)
    }

    fn handle_argument(&self) -> Option<&'static str> {
        Some("sandbox_id")
    }

    async fn run(
        &self,
        args: SandboxReadFileArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<FileRead>, ApiError> {
        let handle = handle_of(&args.sandbox_id)?;
        let (owner, sandboxes) = (call.permit.caller().id(), &self.0.sandboxes);
        let path = args.path;
        let bytes =
            sandboxes.read_file(&handle, owner, path, READ_BYTES_MAX, call.deadline).await?;
        let (size_bytes, sha256) = (bytes.len(), sha256_hex(&bytes));
        let (content, base64) = match String::from_utf8(bytes) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        Ok(Answer::from(FileRead { size_bytes, sha256, content, base64 })
            .fact("sandbox_id", args.sandbox_id)
            .fact("bytes", size_bytes))
    }
}

/// Arguments of `sandbox_list_files`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with sandbox_id")]
pub struct SandboxListFilesArgs {
    /// The sandbox, as `sandbox_create` named it.
    #[garde(length(bytes, min = 1, max = HANDLE_BYTES_MAX))]
    pub sandbox_id: String,
    /// Directory relative to the working directory; left out, all of it is listed.
    #[garde(length(bytes, min = 1, max = PATH_BYTES_MAX))]
    pub path: Option<String>,
}

/// Result of `sandbox_list_files`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FilesListed {
    /// What is there, in the order of the paths.
    pub entries: Vec<FileEntry>,
    /// Whether there is more: 2000 entries and 8 levels are looked at.
    pub truncated: bool,
}

/// One entry.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileEntry {
    /// Path relative to the working directory, control characters escaped.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file; 0 for others.
    pub size_bytes: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A link, FIFO or socket: never followed, never read.
    Other,
}

impl From<EntryKind> for FileKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Self::File,
            EntryKind::Directory => Self::Directory,
            EntryKind::Other => Self::Other,
        }
    }
}

/// The tool that lists.
pub(super) struct SandboxListFiles(pub(super) Parts);

impl TypedTool for SandboxListFiles {
    type Args = SandboxListFilesArgs;
    type Output = FilesListed;

    fn describe(&self) -> ToolDescriptor {
        let title = "List the files of a sandbox";
        descriptor("sandbox_list_files", title, LIST, EventType::DataRead, Effects::None)
    }

    fn handle_argument(&self) -> Option<&'static str> {
        Some("sandbox_id")
    }

    async fn run(
        &self,
        args: SandboxListFilesArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<FilesListed>, ApiError> {
        let handle = handle_of(&args.sandbox_id)?;
        let (owner, path) = (call.permit.caller().id(), args.path.unwrap_or_default());
        let listing = self.0.sandboxes.list_files(&handle, owner, path, call.deadline).await?;
        let entries: Vec<FileEntry> = listing
            .entries
            .into_iter()
            .map(|e| FileEntry { path: e.path, kind: e.kind.into(), size_bytes: e.bytes })
            .collect();
        let count = entries.len();
        Ok(Answer::from(FilesListed { entries, truncated: listing.truncated })
            .fact("sandbox_id", args.sandbox_id)
            .fact("entries", count))
    }
}

const WRITE: &str = "\
Writes files into the working directory of a sandbox. Missing folders are made; a file, link or FIFO of \
the same name is replaced, never written through. Waits for a step in hand.

Example: {\"sandbox_id\": \"sbx_a1b2c3d4e5f6_01890a5d-ac96-774b-bcce-b302099a8057\", \"files\": \
[{\"path\": \"data/in.csv\", \"content\": \"a,b\\n1,2\\n\"}]} gives {\"files\": 1, \"bytes\": 8}.";

const READ: &str = "\
Reads a plain file of a sandbox's working directory, as text when it is UTF-8 and as base64 otherwise. \
Links are not followed. Does not wait for a step in hand. For larger files leave them in `out/`: they \
come back as artifacts.

Example: {\"sandbox_id\": \"sbx_a1b2c3d4e5f6_01890a5d-ac96-774b-bcce-b302099a8057\", \"path\": \
\"data/in.csv\"} gives {\"size_bytes\": 8, \"content\": \"a,b\\n1,2\\n\", …}.";

const LIST: &str = "\
Lists the working directory of a sandbox, with sizes, subdirectories included. Links are shown as \
`other` and not followed. Does not wait for a step in hand.

Example: {\"sandbox_id\": \"sbx_a1b2c3d4e5f6_01890a5d-ac96-774b-bcce-b302099a8057\"} gives {\"entries\": \
[{\"path\": \"data\", \"kind\": \"directory\", \"size_bytes\": 0}, …], \"truncated\": false}.";
