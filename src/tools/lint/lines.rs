//! Positions: from byte offsets to lines and columns as people count them.

use tree_sitter::Point;

/// Where each line of a text begins.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Indexes the text; lines end with a line feed.
    pub fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn at_byte(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        (line as u32 + 1, self.column(line, offset - self.starts[line]))
    }

    /// Line and column of a tree-sitter point, both from 1; columns count characters.
    pub fn at_point(&self, point: Point) -> (u32, u32) {
        let line = point.row.min(self.starts.len() - 1);
        (line as u32 + 1, self.column(line, point.column))
    }

    fn column(&self, line: usize, bytes: usize) -> u32 {
        let before = &self.text.as_bytes()[self.starts[line]..];
        let before = &before[..bytes.min(before.len())];
        // Characters begin where a byte is not a continuation byte (0b10xxxxxx).
        before.iter().filter(|byte| (**byte & 0xC0) != 0x80).count() as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_from_one() {
        let lines = Lines::new("aé b\nc");
        assert_eq!(lines.at_byte(0), (1, 1));
        assert_eq!(lines.at_byte(3), (1, 3));
        assert_eq!(lines.at_byte(6), (2, 1));
        assert_eq!(lines.at_byte(999), (2, 2));
        assert_eq!(lines.at_point(Point { row: 0, column: 4 }), (1, 4));
        assert_eq!(Lines::new("").at_byte(0), (1, 1));
    }
}
