<?php
// The file behind an operation: one JSON object a line, each with a checksum. Knows nothing of what the lines say.

/**
 * A line of it. The checksum, its last member, is also over the line's place in the file, so that no line can change, go,
 * come or move without being noticed.
 */
function checked_line(array $object, $offset)
{
    $text = json($object);
    return substr($text, 0, -1) . sprintf(',"crc":"%08x"}', crc32($offset . $text)) . "\n";
}

/** What a line of `checked_line` holds; null where it has no checksum, false where it has another one. */
function checked_object($line, $offset)
{
    if (!preg_match('/^,"crc":"([0-9a-f]{8})"\}\n$/D', substr($line, -19), $found)) {
        return null;
    }
    $text = substr($line, 0, -19) . '}';
    $object = json_decode($text, true);
    return is_array($object) && sprintf('%08x', crc32($offset . $text)) === $found[1] ? $object : false;
}

/** Read by anybody, at any time; written by who holds the site's lock. */
final class Journal
{
    public $path;
    /** Something stands in it that was not written there. What comes after that is not read. */
    public $is_damaged = false;
    /** Older agents wrote no checksums: their lines are believed, until the first that has one. */
    private $is_old = true;
    private $handle = null;

    public function __construct($path)
    {
        $this->path = $path;
    }

    /** Whole lines only: a torn last one is what a killed process left, and stands for nothing. */
    public function lines($offset = 0, &$end = 0)
    {
        $handle = @fopen($this->path, 'rb');
        $end = $offset;
        $this->is_old = $this->is_old || $offset === 0;
        if (!$handle) {
            return;
        }
        fseek($handle, $offset);
        while (($line = fgets($handle)) !== false && substr($line, -1) === "\n") {
            $object = trim($line) === '' ? [] : $this->object($line, $end);
            if ($object === false) {
                $this->is_damaged = true;
                break;
            }
            $end = ftell($handle);
            if ($object) {
                yield $object;
            }
        }
        fclose($handle);
    }

    public function is_checked()
    {
        return !$this->is_old;
    }

    private function object($line, $offset)
    {
        $object = checked_object($line, $offset);
        if ($object !== null) {
            $this->is_old = false;
            return $object;
        }
        // An older agent ended a torn line and went on behind it.
        return $this->is_old ? (json_decode($line, true) ?: []) : false;
    }

    /** Throws no_state, no_space; then the file is as it was. */
    public function append(array $object, $durable)
    {
        $this->handle = $this->handle ?: $this->opened();
        $end = $this->size();
        try {
            write_all($this->handle, checked_line($object, $end), $this->path);
            // After its first fsync() PHP holds back what is written, errors and places included, until the next flush.
            if ($durable) {
                sync_handle($this->handle, $this->path);
            } elseif (!@fflush($this->handle)) {
                throw new Failure('no_space', "cannot write {$this->path}: the disk or the quota is full", 'free some space in the account');
            }
        } catch (Failure $e) {
            $this->cut($end);
            throw $e;
        }
        return $end;
    }

    public function cut($size)
    {
        @ftruncate($this->handle, $size);
    }

    /** Everything anew, at one instant. */
    public function replace(array $objects)
    {
        $text = '';
        foreach ($objects as $object) {
            $text .= checked_line($object, strlen($text));
        }
        write_durably($this->path, $text);
        $this->handle && fclose($this->handle);
        $this->handle = null;
        $this->is_damaged = false;
    }

    private function size()
    {
        fseek($this->handle, 0, SEEK_END);
        return ftell($this->handle);
    }

    private function opened()
    {
        $end = 0;
        foreach ($this->lines(0, $end) as $object) {
            continue;
        }
        $handle = @fopen($this->path, 'ab');
        if (!$handle) {
            throw new Failure('no_state', 'cannot write the journal: ' . last_error('unknown reason'), 'look at the disk and its permissions');
        }
        if (!$this->is_damaged && fstat($handle)['size'] > $end) {
            ftruncate($handle, $end);  // a torn line would swallow the next one
        }
        return $handle;
    }
}
