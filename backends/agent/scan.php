<?php
// Compares the live tree with the newest generation as two sorted streams and stores what is new.

/**
 * A pack of which less lives is taken over by the next one. At a half, what is dead never outweighs what lives, and a
 * byte is copied at most once for each dead byte that it frees: the store stays under twice its content, and the copying
 * under what the changes themselves wrote. A higher share copies more to save less.
 */
const TAKE_OVER_BELOW = 0.5;
/** What a file costs a pack beside its bytes: its header, and what fills up its last block. */
const MEMBER = 1024;
/** Bytes free below which room is counted file by file. */
const ROOMY = 1073741824;

final class Scan
{
    private $areas;
    /** Of each area, whether it is a folder: asked once, not three times a file. */
    private $folders;
    private $abspath;
    private $exclude;
    private $packs;
    private $before;
    private $request;
    private $skipped = [];
    private $total = ['files' => 0, 'bytes' => 0];
    /** Packs, as keys, that the new generation will not refer to; with what taking over costs at the most. */
    private $retired = [];
    private $taken = [];
    private $full;
    public $signs;
    public $core;
    public $plugins;

    /** `$before` is the generation that this one follows, or null. */
    public function __construct(Request $request, Installation $site, $before)
    {
        $this->request = $request;
        $this->areas = $site->areas();
        $this->folders = array_map('is_dir', $this->areas);
        $this->abspath = $site->abspath;
        $this->exclude = exclusion_pattern($request);
        $this->packs = $request->folder . '/packs';
        $this->before = $before;
        $this->signs = new Signs($site, $before ? (array) ($before->summary['versions'] ?? []) : []);
        $this->core = new CoreFiles($request, $site, $this->signs, $before);
        $this->plugins = new PluginFiles($request, $site, $this->signs, $before);
        $last = $before ? (int) ($before->summary['full'] ?? 0) : 0;
        $this->full = !$before || $last > time() || time() - $last >= $request->whole('full_every_s', 31 * 86400);
    }

    private function live()
    {
        $this->skipped = [];
        foreach ($this->areas as $name => $start) {
            foreach (walk_area($name, $start, $this->exclude, $this->abspath, function ($path, $why) {
                if (count($this->skipped) < 1000) {
                    $this->skipped[] = ['path' => escape_path($path), 'why' => $why];
                }
            }) as $item) {
                yield $item;
            }
        }
    }

    /** The path on the disk of a manifest's path. */
    private function where($path)
    {
        $cut = strpos($path, '/');
        if ($cut === false) {
            return $this->areas[$path];
        }
        $area = substr($path, 0, $cut);
        // The area may be a single file; a document root may be a link to the folder.
        return $this->areas[$area] . ($this->folders[$area] ? substr($path, $cut) : '');
    }

    /** What the generation will need at the most: {bytes, entries, used}; nothing where there is room for a second site. */
    public function measure(Operation $operation)
    {
        $need = ['bytes' => 0, 'entries' => 0, 'used' => 0];
        if ($this->is_roomy()) {
            $this->total['bytes'] = $this->before->summary['counts']['bytes'];
            return $need;
        }
        $lives = [];
        foreach ($this->merged() as list($live, $old)) {
            $operation->checkpoint();
            $need['entries']++;
            if ($live->type !== 'f') {
                continue;
            }
            $this->total['files']++;
            $this->total['bytes'] += $live->size;
            $need['used'] += $live->size;
            $unchanged = $this->is_unchanged($live, $old);
            if (!$unchanged) {
                $need['bytes'] += $live->size + MEMBER;
            }
            if ($old && $old->type === 'f' && $old->size === $live->size && $old->pack !== '-') {
                // After a restore every file has another inode, and is known by its content later.
                $of = $lives[$old->pack] ?? [0, 0];
                $lives[$old->pack] = [$of[0] + $old->stored + MEMBER, $of[1] + ($unchanged ? $live->size + MEMBER : 0)];
            }
        }
        $need['bytes'] += 250 * $need['entries'] + $this->retire($lives);
        return $need;
    }

    /**
     * Whether the live tree need not be walked to know that its changes fit: no quota, all packs in good use by the
     * generation before, and room for twice of what that holds. A site that outgrew this meets PackWriter's own look.
     */
    private function is_roomy()
    {
        if (!$this->before || $this->request->get('bytes_max') !== null || $this->request->get('files_max') !== null) {
            return false;
        }
        $damage = Damage::of($this->request);
        foreach ($this->before->summary['packs'] as $pack) {
            if (($pack['used'] ?? 0) < TAKE_OVER_BELOW * $pack['size'] || $this->is_damaged($damage, $pack)) {
                return false;
            }
        }
        $free = @disk_free_space($this->request->folder);
        $holds = $this->before->summary['counts']['bytes'] + $this->before->summary['dump']['plain'];
        return $free !== false && $free > max(ROOMY, 2 * $holds) + DISK_SPARE;
    }

    private function is_damaged(Damage $damage, array $pack)
    {
        return $damage->has_pack($pack['id']) || @filesize("{$this->packs}/{$pack['id']}.tar") !== $pack['size'];
    }

    /** Which packs the new one takes over, by what lives in each; returns the bytes that this may take. */
    private function retire(array $lives)
    {
        $damage = Damage::of($this->request);
        foreach ($this->before ? $this->before->summary['packs'] : [] as $pack) {
            list($used, $cost) = $lives[$pack['id']] ?? [0, 0];
            $damaged = $this->is_damaged($damage, $pack);
            if ($used && ($damaged || $used < TAKE_OVER_BELOW * $pack['size'])) {
                $this->retired[$pack['id']] = $cost;
                $this->taken[$pack['id']] = [0, 0, $damaged ? 'it is damaged' : 'under half of it is in use'];
            }
        }
        return array_sum($this->retired);
    }

    /** There is no room for it: the packs stay as they are. Returns the bytes that this saves. */
    public function take_nothing_over(Operation $operation)
    {
        $saved = array_sum($this->retired);
        if ($this->retired) {
            $operation->note('not_taken_over', 'there is no room to store anew what lives of old packs: ' . implode(', ', array_keys($this->retired)), 'warning');
        }
        $this->retired = $this->taken = [];
        return $saved;
    }

    /** Live entries with what the generation before had under the same path, or null; `$gone(old)` hears of the rest. */
    private function merged($gone = null)
    {
        $old = $this->before ? $this->before->manifest() : new EmptyIterator();
        foreach ($this->live() as list($path, $stat, $type, $target)) {
            for (; $old->valid() && strcmp($old->current()->path, $path) < 0; $old->next()) {
                $gone && $gone($old->current());
            }
            $same = $old->valid() && $old->current()->path === $path ? $old->current() : null;
            yield [Entry::of_live($path, $stat, $type, $target), $same];
            $same && $old->next();
        }
        for (; $old->valid(); $old->next()) {
            $gone && $gone($old->current());
        }
    }

    /** PHP's stat has whole seconds: what was written within 2 s of the scan before is always read again. */
    private function is_unchanged(Entry $live, $old)
    {
        return $old && $old->type === 'f' && $live->same_stat($old)
            && max($live->mtime, $live->ctime) < $this->before->summary['scanned'] - 2;
    }

    /** Writes pack and manifest; returns counts, the packs that are referred to, and the manifest's size. */
    public function write(Operation $operation, $manifest, $id)
    {
        $scanned = time();
        $pack = new PackWriter($this->packs, $id);
        $out = @fopen($manifest, 'wb');
        if (!$out) {
            throw new Failure('no_space', 'cannot write the manifest: ' . last_error('unknown reason'));
        }
        $lines = MANIFEST_HEAD;
        $counts = ['files' => 0, 'folders' => 0, 'links' => 0, 'bytes' => 0];
        $needed = [];
        $done = 0;
        foreach ($this->merged([$this->signs, 'gone']) as list($live, $old)) {
            $size = $live->size;
            if ($live->type === 'f' && !$this->store($live, $old, $pack, $operation, $done)) {
                continue;
            }
            $file = $this->where($live->path);
            $this->signs->version($live, $old, $file);
            if ($old) {
                $this->signs->kept($live, $old, $file);
            } elseif ($this->before) {
                $this->signs->added($live, $file);
            }
            $this->core->see($live, $old, $file);
            $this->plugins->see($live, $old, $file);
            $lines .= $live->line($old);
            if (strlen($lines) >= 65536) {
                write_all($out, $lines, 'the manifest');
                $lines = '';
            }
            $counts[['f' => 'files', 'd' => 'folders', 'l' => 'links'][$live->type]]++;
            $counts['bytes'] += $live->size;
            if ($live->type === 'f' && $live->pack !== '-') {
                $needed[$live->pack] = ($needed[$live->pack] ?? 0) + $live->stored + MEMBER;
            }
            $done += $size;
            $operation->progress($done, max($done, $this->total['bytes']), 'bytes');
        }
        $operation->progress($done, $done, 'bytes');
        write_all($out, $lines, 'the manifest');
        sync_handle($out, $manifest);
        $length = ftell($out);
        fclose($out);
        $mine = $pack->close($this->packs);
        foreach ($this->taken as $from => list($files, $bytes, $why)) {
            $operation->note('taken_over', sprintf('%d files of the pack %s, %s, were stored anew: %s', $files, $from, size_text($bytes), $why), 'info', $from);
        }
        return $counts + ['scanned' => $scanned, 'full' => $this->full ? $scanned : (int) ($this->before->summary['full'] ?? 0), 'pack' => $mine, 'packs' => $this->refer($needed, $mine), 'manifest' => $length,
            'skipped' => $this->skipped];
    }

    /**
     * Gives `$live` its content: the generation before's where it is the same, otherwise the pack's. What lies in a
     * retired pack is stored anew from the live file: its hash says whether that is what the pack held.
     */
    private function store(Entry $live, $old, PackWriter $pack, Operation $operation, $done)
    {
        $unchanged = $this->is_unchanged($live, $old);
        $known = $old && $old->type === 'f' && !isset($this->retired[$old->pack]);
        if ($unchanged && $known && !$this->full) {
            $live->take($old);
            return true;
        }
        $file = $this->where($live->path);
        if ($known && $old->size === $live->size && self::has_content($file, $old->sha256, [$operation, 'checkpoint'])) {
            $live->take($old);
            return true;
        }
        for ($try = 1; ; $try++) {
            clearstatcache(true, $file);
            $stat = @lstat($file);
            if (!$stat || file_type($stat) !== 'f') {
                $this->skipped[] = ['path' => escape_path($live->path), 'why' => 'vanished'];
                return false;
            }
            $stored = $pack->add($live->path, $file, $stat['size'], $stat, function ($read) use ($operation, $done) {
                $operation->progress($done + $read, max($done + $read, $this->total['bytes']), 'bytes');
            });
            if (!$stored) {
                $this->skipped[] = ['path' => escape_path($live->path), 'why' => 'unreadable'];
                $operation->note('unreadable', 'could not be read and is not in this generation: ' . escape_path($live->path), 'warning', escape_path($live->path));
                return false;
            }
            clearstatcache(true, $file);
            $after = @lstat($file);
            // Whole seconds tell nothing of a file that was written just now: it is read a second time.
            $calm = $after && $after['size'] === $stored[1] && $after['mtime'] === $stat['mtime'] && $after['ctime'] === $stat['ctime']
                && (max($stat['mtime'], $stat['ctime']) < time() - 2 || self::has_content($file, $stored[0]));
            if ($calm || $try === 3) {
                break;
            }
        }
        if (!$calm) {
            $operation->note('changing', 'changed while it was read, three times: ' . escape_path($live->path), 'warning', escape_path($live->path));
        }
        $fresh = Entry::of_live($live->path, $stat, 'f', '');
        foreach (['mode', 'uid', 'gid', 'mtime', 'ctime', 'inode'] as $key) {
            $live->$key = $fresh->$key;
        }
        list($live->sha256, $live->size, $live->codec, $live->offset, $live->stored) = $stored;
        $live->pack = $pack->id;
        if ($old && $old->type === 'f' && $live->sha256 === $old->sha256 && isset($this->retired[$old->pack])) {
            $this->taken[$old->pack][0]++;
            $this->taken[$old->pack][1] += $live->stored;
        } elseif ($unchanged && $live->same_stat($old)) {
            $this->signs->hidden($live);
            $operation->note('hidden', 'its content changed and its size and times did not: ' . escape_path($live->path), 'warning', escape_path($live->path));
        }
        return true;
    }

    public static function has_content($file, $sha256, $tick = null)
    {
        try {
            return file_sha256($file, $tick) === $sha256;
        } catch (Failure $e) {
            return false;
        }
    }

    /** The packs that the generation refers to, each with the bytes `used` of it. */
    private function refer(array $needed, $mine)
    {
        $packs = [];
        foreach (array_merge($this->before ? $this->before->summary['packs'] : [], $mine ? [$mine] : []) as $pack) {
            if (isset($needed[$pack['id']]) || $pack === $mine) {
                $packs[] = ['used' => $needed[$pack['id']] ?? 0] + $pack;
            }
        }
        return $packs;
    }
}

/** The text that lies in every generation: how to restore it with tar, gunzip and mysql alone. */
function restore_by_hand(array $summary)
{
    $areas = '';
    foreach ($summary['areas'] as $name => $path) {
        $areas .= "    $name = " . escape_path($path) . "\n";
    }
    return "Generation {$summary['generation']} of {$summary['site']}, format 1.\n\n"
        . "The manifest has one line an entry: type mode uid gid mtime ctime inode size sha256 codec pack offset stored path target.\n"
        . "A path begins with the name of its area:\n$areas"
        . "Bytes outside 0x21-0x7E and backslashes stand as \\0ooo. Type f: file, d: folder, l: link to target.\n\n"
        . "Files, into the new folder ./restored, from the folder of this text, with a POSIX shell:\n\n"
        . by_hand_script()
        . "\nDatabase, into an empty one:\n\n    gunzip -c database.sql.gz | mysql --default-character-set=utf8mb4 NAME\n\n"
        . "A single pack can be unpacked with tar: members under files/ are as they were, those under gz/ are gzip files.\n";
}

function by_hand_script()
{
    return <<<'SH'
    tail -n +2 manifest | while read -r type mode uid gid mtime ctime inode size sha codec pack offset stored path target; do
      p=$(printf '%bx' "$path"); p=restored/${p%x}
      case $type in
        d) mkdir -p "$p" ;;
        l) t=$(printf '%bx' "$target"); mkdir -p "$(dirname "$p")"; ln -s -- "${t%x}" "$p" ;;
        f) mkdir -p "$(dirname "$p")"
           if [ "$codec" = gz ]; then tail -c +$((offset + 1)) ../../packs/$pack.tar | head -c "$stored" | gunzip -c > "$p"
           else tail -c +$((offset + 1)) ../../packs/$pack.tar | head -c "$stored" > "$p"; fi
           chmod "$mode" "$p" ;;
      esac
    done

SH;
}
