<?php
// A damaged pack rebuilt byte for byte: what is still right of it, and its members' bytes from wherever they still lie.

/** Members of one pack that are searched for in other packs: a bound on memory, not on packs. */
const SOUGHT = 20000;

/**
 * A pack is a function of its members (`PackWriter`): each can be made again from its plain bytes. The rebuilt file
 * replaces the damaged one only where all of it has the size and the SHA-256 of the summary; half a healing is none.
 */
final class PackHealer
{
    private $operation;
    private $request;
    private $pack;
    private $folder;
    private $out;
    private $sought = [];

    public function __construct(Operation $operation, array $pack)
    {
        $this->operation = $operation;
        $this->request = $operation->request;
        $this->pack = $pack;
        $this->folder = $this->request->folder . '/packs';
    }

    /** Whether the pack is whole again. */
    public function heal()
    {
        $part = "{$this->folder}/.{$this->pack['id']}.tar.part";
        $free = @disk_free_space($this->folder);
        if ($free !== false && $free < $this->pack['size'] + DISK_SPARE) {
            $this->operation->note('not_healed', "there is no room to rebuild the pack {$this->pack['id']}", 'warning', "packs/{$this->pack['id']}.tar");
            return false;
        }
        $this->out = @fopen($part, 'wb+');
        if (!$this->out) {
            return false;
        }
        try {
            chmod($part, 0600);
            if (!$this->rebuild($part)) {
                return false;
            }
            sync_handle($this->out, $part);
            chmod($part, 0400);
            if (!@rename($part, "{$this->folder}/{$this->pack['id']}.tar")) {
                return false;
            }
            sync_folder($this->folder);
            return true;
        } finally {
            fclose($this->out);
            @unlink($part);
            @unlink("{$this->folder}/.{$this->pack['id']}.member.part");
        }
    }

    private function rebuild($part)
    {
        $this->copy_what_is_there();
        if ($this->is_right($part)) {
            return true;
        }
        $this->put($this->pack['size'] - 1024, str_repeat("\0", 1024));
        // Its own generation first: a later one may know a file under another mode or time, and the header has the first.
        $generations = array_filter($this->generations(), function (Generation $one) {
            return in_array($this->pack['id'], array_column($one->summary['packs'], 'id'), true);
        });
        usort($generations, function (Generation $a, Generation $b) {
            return strcmp($a->id, $b->id);
        });
        foreach ([false, true] as $thorough) {
            foreach ($generations as $generation) {
                $this->mend_by($generation, $thorough);
                if ($this->is_right($part)) {
                    return true;
                }
            }
        }
        return $this->sought && $this->seek_elsewhere() && $this->is_right($part);
    }

    private function generations()
    {
        $found = [];
        foreach (Generation::ids($this->request) as $id) {
            try {
                $found[] = Generation::open($this->request, $id);
            } catch (Failure $e) {
                continue;
            }
        }
        return $found;
    }

    /** The damaged file's own bytes, cut or filled with zeros to its right size. */
    private function copy_what_is_there()
    {
        $in = @fopen("{$this->folder}/{$this->pack['id']}.tar", 'rb');
        for ($left = $this->pack['size']; $in && $left > 0; $left -= strlen($bytes)) {
            $bytes = fread($in, min(CHUNK, $left));
            if ($bytes === false || $bytes === '') {
                break;
            }
            write_all($this->out, $bytes, 'a pack');
            $this->operation->checkpoint();
        }
        if (!@ftruncate($this->out, $this->pack['size'])) {
            throw new Failure('no_space', 'cannot write a pack: the disk or the quota is full', 'free some space in the account');
        }
    }

    private function is_right($part)
    {
        fflush($this->out);
        return file_sha256($part, [$this->operation, 'checkpoint']) === $this->pack['sha256'];
    }

    private function put($at, $bytes)
    {
        if ($at >= 0 && $at + strlen($bytes) <= $this->pack['size']) {
            fseek($this->out, $at);
            write_all($this->out, $bytes, 'a pack');
        }
    }

    /** `$thorough`: a gzip member that reads back may still have a wrong byte in its head, and is made again from itself. */
    private function mend_by(Generation $generation, $thorough)
    {
        try {
            foreach ($generation->manifest() as $entry) {
                if ($entry->type === 'f' && $entry->pack === $this->pack['id']) {
                    $this->operation->checkpoint();
                    $this->mend_header($entry, $generation->id === $this->pack['id']);
                    $this->put($entry->offset + $entry->stored, PackWriter::padding($entry->stored));
                    if ($this->is_whole($entry)) {
                        $thorough && $entry->codec === 'gz' && $this->fill($entry, $this->extracted($this->out, $entry));
                    } elseif (!$this->fill($entry, $this->live_file($generation, $entry)) && count($this->sought) < SOUGHT) {
                        $this->sought[$entry->offset] = $entry;
                    }
                }
            }
        } catch (Failure $e) {
            if ($e->word === 'no_space') {
                throw $e;
            }
        }
    }

    /** Where its own generation is gone, a header that reads as one of this member is left as it is. */
    private function mend_header(Entry $entry, $sure)
    {
        $right = PackWriter::member($entry->path, $entry->codec, $entry->stored, $entry->mode, $entry->mtime);
        $at = $entry->offset - strlen($right);
        if ($at < 0) {
            return;
        }
        fseek($this->out, $at);
        $there = (string) fread($this->out, strlen($right));
        $head = substr($there, -512);
        $sum = array_sum(unpack('C*', substr_replace($head, '        ', 148, 8)));
        // All but mode, time and checksum is known to the byte.
        $alike = substr($there, 0, -512) === substr($right, 0, -512) && substr($head, 0, 100) === substr(substr($right, -512), 0, 100)
            && substr($head, 124, 12) === substr($right, -388, 12) && substr($head, 148, 8) === sprintf("%06o\0 ", $sum);
        if ($sure || !$alike) {
            $this->put($at, $right);
        }
    }

    private function is_whole(Entry $entry)
    {
        try {
            PackReader::copy_from($this->out, $entry, null);
            return true;
        } catch (Failure $e) {
            return false;
        }
    }

    /** A handle on the live file, where it has the bytes that the member had. */
    private function live_file(Generation $generation, Entry $entry)
    {
        $cut = strpos($entry->path, '/');
        $start = $generation->summary['areas'][$cut === false ? $entry->path : substr($entry->path, 0, $cut)] ?? null;
        $file = $start === null ? '' : (is_dir($start) ? $start . (string) substr($entry->path, (int) $cut) : $start);
        clearstatcache(true, $file);
        $stat = $file === '' ? false : @lstat($file);
        try {
            $same = $stat && file_type($stat) === 'f' && $stat['size'] === $entry->size
                && file_sha256($file, [$this->operation, 'checkpoint']) === $entry->sha256;
        } catch (Failure $e) {
            $same = false;
        }
        return $same ? @fopen($file, 'rb') : false;
    }

    /** Stores the plain bytes of `$in` in the member's place; whether they fit there and read back. */
    private function fill(Entry $entry, $in)
    {
        if (!$in) {
            return false;
        }
        $at = $entry->offset;
        foreach (PackWriter::stored($in, $entry->codec, $entry->size) as $bytes) {
            if ($at + strlen($bytes) > $entry->offset + $entry->stored) {
                return false;
            }
            $this->put($at, $bytes);
            $at += strlen($bytes);
        }
        fclose($in);
        $this->put($at, PackWriter::padding($entry->stored));
        return $this->is_whole($entry);
    }

    /** A handle on the entry's plain bytes out of an open pack, or false. */
    private function extracted($pack, Entry $entry)
    {
        $copy = @fopen("{$this->folder}/.{$this->pack['id']}.member.part", 'wb+');
        try {
            PackReader::copy_from($pack, $entry, $copy);
        } catch (Failure $e) {
            fclose($copy);
            return false;
        }
        rewind($copy);
        return $copy;
    }

    /** What no live file has may lie in another pack, or in another place of this one. */
    private function seek_elsewhere()
    {
        $by_hash = [];
        foreach ($this->sought as $entry) {
            $by_hash[$entry->sha256][] = $entry;
        }
        foreach ($this->generations() as $generation) {
            try {
                foreach ($generation->manifest() as $entry) {
                    if ($entry->type !== 'f' || !isset($by_hash[$entry->sha256]) || ($entry->pack === $this->pack['id'] && isset($this->sought[$entry->offset]))) {
                        continue;
                    }
                    $pack = $entry->pack === $this->pack['id'] ? $this->out : @fopen("{$this->folder}/{$entry->pack}.tar", 'rb');
                    foreach ($pack ? $by_hash[$entry->sha256] : [] as $place => $member) {
                        if ($this->fill($member, $this->extracted($pack, $entry))) {
                            unset($by_hash[$entry->sha256][$place]);
                        }
                    }
                    if (!$by_hash[$entry->sha256]) {
                        unset($by_hash[$entry->sha256]);
                    }
                }
            } catch (Failure $e) {
                continue;
            }
        }
        return !$by_hash;
    }
}
