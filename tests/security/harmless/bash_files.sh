# Archives, compression, find, checksums, editing in place, dates.
# expect-status: ok
# expect-stdout: restored
# expect-artifacts: ["archive.tar.gz"]
mkdir -p tree/deep && echo original > tree/deep/file
tar -czf out/archive.tar.gz tree && rm -r tree && tar -xzf out/archive.tar.gz
sed -i 's/original/restored/' tree/deep/file
find tree -type f -exec cat {} +
sha256sum tree/deep/file | grep -q tree && date -d @0 -u +%Y | grep -q 1970 && dd if=/dev/urandom bs=1k count=4 2> /dev/null | gzip | gunzip | wc -c | grep -q 4096
