<?php
// Packs: plain GNU tars of what was new when a generation was made. Written once, never changed, read by offset.

/** Compressed already: trying again costs time and saves nothing. */
const DENSE = '~\.(?:jpe?g|png|gif|webp|avif|heic|ico|mp[34]|m4[av]|mov|avi|webm|ogg|opus|flac|zip|gz|tgz|bz2|xz|zst|7z|rar|br|woff2?|pdf|docx|xlsx|pptx|phar|wasm)$~i';
const SMALL = 8388608;

/** Bytes that are written between two looks at how full the disk is: a site whose disk is full is down. */
const LOOK_AT_DISK = 67108864;

final class PackWriter
{
    public $id;
    public $path;
    public $size = 0;
    public $members = 0;
    private $out = null;
    private $unlooked = 0;

    public function __construct($folder, $id)
    {
        $this->id = $id;
        $this->path = "$folder/.$id.tar.part";
    }

    /**
     * Stores the file's bytes as they are now. Returns [sha256, size, codec, offset, stored], or null where it vanished.
     * Throws `no_space`; a file that changes while it is read is for the caller to notice by its stat.
     */
    public function add($path, $file, $size, array $stat, callable $tick)
    {
        $in = @fopen($file, 'rb');
        if (!$in) {
            return null;
        }
        try {
            return $size <= SMALL ? $this->add_small($path, $in, $stat) : $this->add_large($path, $in, $stat, $tick);
        } finally {
            fclose($in);
        }
    }

    private function add_small($path, $in, array $stat)
    {
        $bytes = read_stream($in, $stat['size'], SMALL * 4);
        $hash = sha256($bytes);
        $packed = strlen($bytes) < 64 || self::is_dense($path) ? null : gzencode($bytes, 1);
        $codec = $packed !== null && strlen($packed) < 0.95 * strlen($bytes) ? 'gz' : 'raw';
        $stored = $codec === 'gz' ? $packed : $bytes;
        $head = self::member($path, $codec, strlen($stored), $stat['mode'], $stat['mtime']);
        $offset = $this->size + strlen($head);
        $this->put($head . $stored . self::padding(strlen($stored)));
        $this->members++;
        return [$hash, strlen($bytes), $codec, $offset, strlen($stored)];
    }

    private function add_large($path, $in, array $stat, callable $tick)
    {
        $codec = self::is_dense($path) || !self::shrinks($in) ? 'raw' : 'gz';
        rewind($in);
        $at = $this->size;
        $offset = $this->header($path, $codec, 0, $stat);
        $gzip = $codec === 'gz' ? deflate_init(ZLIB_ENCODING_GZIP, ['level' => 1]) : null;
        $hash = hash_init('sha256');
        $size = $stored = 0;
        // What grows faster than it is read would never end; its caller sees that it changed.
        $most = 2 * $stat['size'] + 67108864;
        while ($size < $most && ($bytes = fread($in, CHUNK)) !== false && $bytes !== '') {
            hash_update($hash, $bytes);
            $size += strlen($bytes);
            $bytes = $gzip ? deflate_add($gzip, $bytes, ZLIB_NO_FLUSH) : $bytes;
            $stored += strlen($bytes);
            $this->put($bytes);
            $tick($size);
        }
        if ($gzip) {
            $bytes = deflate_add($gzip, '', ZLIB_FINISH);
            $stored += strlen($bytes);
            $this->put($bytes);
        }
        $this->put(self::padding($stored));
        $end = $this->size;
        fseek($this->out, $at);
        $this->size = $at;
        $this->header($path, $codec, $stored, $stat);
        fseek($this->out, $end);
        $this->size = $end;
        $this->members--;
        return [hash_final($hash), $size, $codec, $offset, $stored];
    }

    /** Stored as it is; also where `.gz` would make the name longer than a file system takes (255 bytes). */
    private static function is_dense($path)
    {
        return preg_match(DENSE, $path) || strlen(substr(strrchr("/$path", '/'), 1)) > 252;
    }

    private static function shrinks($in)
    {
        $sample = fread($in, 262144);
        return strlen(gzencode($sample, 1)) < 0.9 * strlen($sample);
    }

    public static function padding($length)
    {
        return str_repeat("\0", (512 - $length % 512) % 512);
    }

    /** Writes the member's header and returns where its data begins. */
    private function header($path, $codec, $size, array $stat)
    {
        $this->put(self::member($path, $codec, $size, $stat['mode'], $stat['mtime']));
        $this->members++;
        return $this->size;
    }

    /** What stands before a member's data. A function of these alone, so that a pack can be made again to the byte. */
    public static function member($path, $codec, $size, $mode, $mtime)
    {
        $name = $codec === 'gz' ? "gz/$path.gz" : "files/$path";
        $long = strlen($name) <= 100 ? '' : tar_header('././@LongLink', strlen($name) + 1, 0, 0, 'L') . $name . "\0" . self::padding(strlen($name) + 1);
        return $long . tar_header(substr($name, 0, 100), $size, $mode & 07777, max(0, $mtime), '0');
    }

    /** Yields the stored bytes of the plain ones in `$in`, as `add` stored them when the file had `$size` bytes. */
    public static function stored($in, $codec, $size)
    {
        if ($size <= SMALL) {
            $bytes = read_stream($in, $size, SMALL * 4);
            yield $codec === 'gz' ? gzencode($bytes, 1) : $bytes;
            return;
        }
        $gzip = $codec === 'gz' ? deflate_init(ZLIB_ENCODING_GZIP, ['level' => 1]) : null;
        while (($bytes = fread($in, CHUNK)) !== false && $bytes !== '') {
            yield $gzip ? deflate_add($gzip, $bytes, ZLIB_NO_FLUSH) : $bytes;
        }
        if ($gzip) {
            yield deflate_add($gzip, '', ZLIB_FINISH);
        }
    }

    private function put($bytes)
    {
        if (!$this->out) {
            $this->out = @fopen($this->path, 'wb+');
            if (!$this->out) {
                throw new Failure('no_space', 'cannot write a pack: ' . last_error('unknown reason'), 'look at the disk and its permissions');
            }
            chmod($this->path, 0600);
        }
        write_all($this->out, $bytes, 'a pack');
        $this->size += strlen($bytes);
        if (($this->unlooked += strlen($bytes)) >= LOOK_AT_DISK) {
            $this->unlooked = 0;
            $free = @disk_free_space(dirname($this->path));
            if ($free !== false && $free < LOOK_AT_DISK + DISK_SPARE) {
                throw new Failure('no_space', 'the site changed more than the server has room for', 'free some space in the account, or keep fewer generations');
            }
        }
    }

    /** Ends the tar and keeps it; returns {id, size, sha256}, or null where nothing was new. */
    public function close($folder)
    {
        if (!$this->out) {
            return null;
        }
        $this->put(str_repeat("\0", 1024));
        sync_handle($this->out, $this->path);
        fclose($this->out);
        $hash = file_sha256($this->path);
        chmod($this->path, 0400);
        if (!@rename($this->path, "$folder/{$this->id}.tar")) {
            throw new Failure('no_space', 'cannot keep the pack: ' . last_error('unknown reason'));
        }
        sync_folder($folder);
        return ['id' => $this->id, 'size' => $this->size, 'sha256' => $hash];
    }
}

/** GNU tar: sizes of 8 GiB and more in base 256. */
function tar_header($name, $size, $mode, $mtime, $type)
{
    $length = $size < 8589934592 ? sprintf('%011o', $size) . "\0" : "\x80" . str_pad(pack('J', $size), 11, "\0", STR_PAD_LEFT);
    $head = str_pad($name, 100, "\0") . sprintf("%07o\0%07o\0%07o\0", $mode, 0, 0) . $length
        . sprintf("%011o\0", min($mtime, 077777777777)) . '        ' . $type . str_repeat("\0", 100) . "ustar  \0"
        . str_repeat("\0", 64) . str_repeat("\0", 183);
    $sum = 0;
    foreach (count_chars($head, 1) as $byte => $times) {
        $sum += $byte * $times;
    }
    return substr_replace($head, sprintf("%06o\0 ", $sum), 148, 8);
}

/**
 * What is left in `$in`, `$most` bytes at most, where `$size` are expected. stream_get_contents makes a system call for
 * every 8 KiB and takes new memory for all of `$most`: three times the processor time on a site's files.
 */
function read_stream($in, $size, $most)
{
    stream_set_read_buffer($in, 0);
    $bytes = (string) fread($in, max(1, min($size, $most)));
    while (strlen($bytes) < $most && ($more = (string) fread($in, min(8192, $most - strlen($bytes)))) !== '') {
        $bytes .= $more;
    }
    return $bytes;
}

/** openssl's is five times faster than hash() on a whole string (FACTS 12). */
function sha256($bytes)
{
    return function_exists('openssl_digest') ? openssl_digest($bytes, 'sha256') : hash('sha256', $bytes);
}

/**
 * Large files by the command, which is faster still; by PHP where there is none. Throws where the file cannot be read;
 * `$tick` is called meanwhile.
 */
function file_sha256($path, $tick = null)
{
    $size = (int) @filesize($path);
    if ($size <= SMALL) {
        $in = @fopen($path, 'rb');
        if ($in) {
            $bytes = read_stream($in, $size, PHP_INT_MAX);
            fclose($in);
            return sha256($bytes);
        }
    } else {
        list($status, $out) = run(['openssl', 'dgst', '-sha256', '-r', $path], '', 7200, $tick);
        if ($status === 0 && preg_match('/^[0-9a-f]{64}/', $out, $found)) {
            return $found[0];
        }
    }
    $hash = @hash_file('sha256', $path);
    if ($hash === false) {
        throw new Failure('damaged', "cannot read $path: " . last_error('unknown reason'), 'look at the disk');
    }
    return $hash;
}

/** Reads entries of manifests out of the packs of one site. */
final class PackReader
{
    private $folder;
    private $open = [];

    public function __construct($folder)
    {
        $this->folder = $folder;
    }

    /**
     * Writes the entry's bytes to `$out` (null: only checks them). Throws `damaged` unless they are what the manifest
     * says, by length and SHA-256; what was written before that is the caller's to throw away.
     */
    public function copy(Entry $entry, $out)
    {
        self::copy_from($this->handle($entry->pack), $entry, $out);
    }

    /** The same out of a pack that is open. */
    public static function copy_from($in, Entry $entry, $out)
    {
        if (fseek($in, $entry->offset) !== 0) {
            throw new Failure('damaged', "the pack {$entry->pack} is too short", 'take another generation');
        }
        // By what it becomes, not by what it takes: a sparse file of gigabytes is stored in a few kilobytes.
        if (max($entry->stored, $entry->size) <= SMALL) {
            $bytes = $entry->stored ? read_stream($in, $entry->stored, $entry->stored) : '';
            if ($entry->codec === 'gz') {
                $bytes = @gzdecode($bytes, $entry->size + 1);
            }
            if ($bytes === false || strlen($bytes) !== $entry->size || sha256($bytes) !== $entry->sha256) {
                throw new Failure('damaged', "{$entry->path} is damaged in the pack {$entry->pack}", 'take another generation');
            }
            if ($out) {
                write_all($out, $bytes, $entry->path);
            }
            return;
        }
        self::copy_large($in, $entry, $out);
    }

    private static function copy_large($in, Entry $entry, $out)
    {
        $gzip = $entry->codec === 'gz' ? inflate_init(ZLIB_ENCODING_GZIP) : null;
        $hash = hash_init('sha256');
        $size = 0;
        for ($left = $entry->stored; $left > 0; $left -= strlen($bytes)) {
            // A small step bounds what a hostile member can inflate to at once (deflate gives 1,032 : 1 at most).
            $bytes = fread($in, min($gzip ? 16384 : CHUNK, $left));
            if ($bytes === false || $bytes === '') {
                break;
            }
            $text = $gzip ? @inflate_add($gzip, $bytes) : $bytes;
            if ($text === false || ($size += strlen($text)) > $entry->size) {
                break;
            }
            hash_update($hash, $text);
            if ($out) {
                write_all($out, $text, $entry->path);
            }
        }
        if ($left > 0 || $size !== $entry->size || hash_final($hash) !== $entry->sha256) {
            throw new Failure('damaged', "{$entry->path} is damaged in the pack {$entry->pack}", 'take another generation');
        }
    }

    private function handle($id)
    {
        if (!isset($this->open[$id])) {
            $this->open[$id] = preg_match('/^\d{8}T\d{6}Z$/', $id) ? @fopen("{$this->folder}/$id.tar", 'rb') : false;
            if (!$this->open[$id]) {
                throw new Failure('damaged', "the pack $id is gone or cannot be read", 'take another generation');
            }
        }
        return $this->open[$id];
    }
}

/** One line of a manifest. */
final class Entry
{
    public $type;
    public $mode;
    public $uid;
    public $gid;
    public $mtime;
    public $ctime;
    public $inode;
    public $size;
    public $sha256 = '-';
    public $codec = '-';
    public $pack = '-';
    public $offset = 0;
    public $stored = 0;
    public $path;
    public $target = '';

    public static function of_live($path, array $stat, $type, $target)
    {
        $self = new self();
        $self->path = $path;
        $self->type = $type;
        $self->mode = $stat['mode'] & 07777;
        $self->uid = $stat['uid'];
        $self->gid = $stat['gid'];
        $self->mtime = $stat['mtime'];
        $self->ctime = $stat['ctime'];
        $self->inode = $stat['ino'];
        $self->size = $type === 'f' ? $stat['size'] : 0;
        $self->target = $target;
        return $self;
    }

    public static function parse($line)
    {
        $part = explode(' ', rtrim($line, "\n"));
        if (count($part) !== 15 || !in_array($part[0], ['f', 'd', 'l'], true)) {
            throw new Failure('damaged', 'a line of the manifest cannot be read', 'take another generation');
        }
        $self = new self();
        $self->type = $part[0];
        $self->mode = octdec($part[1]);
        // One by one: a site's manifest is read several times in a backup, and names in variables take half of that time.
        $self->uid = (int) $part[2];
        $self->gid = (int) $part[3];
        $self->mtime = (int) $part[4];
        $self->ctime = (int) $part[5];
        $self->inode = (int) $part[6];
        $self->size = (int) $part[7];
        list(, , , , , , , , $self->sha256, $self->codec, $self->pack) = $part;
        $self->offset = (int) $part[11];
        $self->stored = (int) $part[12];
        $self->path = unescape_path($part[13]);
        $self->target = $part[14] === '-' ? '' : unescape_path($part[14]);
        return $self;
    }

    public function line()
    {
        return "$this->type " . sprintf('%04o', $this->mode) . " $this->uid $this->gid $this->mtime $this->ctime $this->inode $this->size "
            . "$this->sha256 $this->codec $this->pack $this->offset $this->stored " . escape_path($this->path) . ' '
            . ($this->target === '' ? '-' : escape_path($this->target)) . "\n";
    }

    /** The same file, untouched: whoever changes its bytes changes at least its ctime. */
    public function same_stat(Entry $other)
    {
        return $this->type === $other->type && $this->size === $other->size && $this->mtime === $other->mtime
            && $this->ctime === $other->ctime && $this->inode === $other->inode;
    }

    /** Takes the other's stored content. */
    public function take(Entry $other)
    {
        foreach (['size', 'sha256', 'codec', 'pack', 'offset', 'stored'] as $key) {
            $this->$key = $other->$key;
        }
    }
}

const MANIFEST_HEAD = "# modoseru manifest 1\n";

/** The entries of a manifest, sorted bytewise by path; throws `damaged` where it is not one. */
function read_manifest($path)
{
    $in = @fopen($path, 'rb');
    if (!$in || fgets($in) !== MANIFEST_HEAD) {
        throw new Failure('damaged', 'the manifest is gone or cannot be read', 'take another generation');
    }
    $before = '';
    while (($line = fgets($in)) !== false) {
        $entry = Entry::parse($line);
        if (strcmp($entry->path, $before) <= 0 || !is_safe_path($entry->path)) {
            throw new Failure('damaged', 'the manifest is out of order', 'take another generation');
        }
        $before = $entry->path;
        yield $entry;
    }
    fclose($in);
}

/** A manifest may have been made by an attacker: no path of it leads out of its area. */
function is_safe_path($path)
{
    return $path !== '' && $path[0] !== '/' && strpos($path, "\0") === false && !preg_match('~(^|/)(\.\.?|)(/|$)~', $path);
}
