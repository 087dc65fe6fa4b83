<?php
// Live files that stand in a staged tree as they are: linked where content, mode, time and owner are right, so that a
// restore writes what differs and no more. What they were is listed: the switch looks again, and so does the undo, since
// a linked file is one inode in two trees, the live one and the one that was put aside.

/** A list of linked files, a line each in the manifest's order: a million of them take no memory. */
final class Linked
{
    private $path;
    private $handle;
    private $line = null;

    public function __construct($path, $mode)
    {
        $this->path = $path;
        $this->handle = @fopen($path, $mode);
        if (!$this->handle && $mode !== 'rb') {
            throw new Failure('no_space', 'cannot list the linked files: ' . last_error('unknown reason'), 'free some space in the account');
        }
    }

    /** Of an operation that linked nothing, an empty one. */
    public static function of(Operation $operation)
    {
        return new self($operation->folder . '/linked', 'rb');
    }

    public function add($path, array $words)
    {
        write_all($this->handle, implode(' ', $words) . ' ' . escape_path($path) . "\n", 'the list of linked files');
    }

    public function close()
    {
        sync_handle($this->handle, $this->path);
        fclose($this->handle);
    }

    /** Every line as path => the words of its stat. */
    public function lines()
    {
        while ($this->handle && ($line = fgets($this->handle)) !== false) {
            $words = explode(' ', rtrim($line, "\n"));
            yield unescape_path((string) array_pop($words)) => $words;
        }
    }

    /** Whether `$path` is listed; the paths that are asked for come in the manifest's order. */
    public function has($path)
    {
        $this->line = $this->line ?? $this->lines();
        while ($this->line->valid() && strcmp($this->line->key(), $path) < 0) {
            $this->line->next();
        }
        return $this->line->valid() && $this->line->key() === $path;
    }
}

/** What shows that a file was touched: whoever changes its bytes, or gives it another name, changes at least its ctime. */
function stat_words(array $stat)
{
    return [(string) $stat['size'], (string) $stat['mtime'], (string) $stat['ctime'], (string) $stat['ino']];
}

function stat_now($path)
{
    clearstatcache(true, $path);
    return @lstat($path);
}

/** Kind, size, mode, time and owner are those that the generation holds. */
function has_attributes($stat, Entry $entry)
{
    return $stat && file_type($stat) === 'f' && $stat['size'] === $entry->size && $stat['mtime'] === $entry->mtime
        && ($stat['mode'] & 07777) === $entry->mode && $stat['uid'] === $entry->uid && $stat['gid'] === $entry->gid;
}

/**
 * Links `$live` as `$target` where it is what `$entry` says; returns the words of its stat, or null: it has to be written.
 * The name is made first and the bytes behind it are hashed, so that nothing can be put in between.
 */
function link_live($live, $target, Entry $entry)
{
    // The times of a stat are whole seconds: what is written in the second of a file's own time shows in none of them.
    if ($entry->mtime >= time() - 1 || !has_attributes(stat_now($live), $entry) || !@link($live, $target)) {
        return null;
    }
    $stat = stat_now($target);
    if (has_attributes($stat, $entry) && Scan::has_content($target, $entry->sha256) && stat_words($stat) === stat_words(stat_now($target))) {
        return stat_words($stat);
    }
    unlink($target);
    return null;
}

/** Linked files that were touched since they were read come from the packs, and stand in the list no more. */
function look_again_at_linked(Operation $operation, Generation $generation)
{
    $touched = [];
    foreach (Linked::of($operation)->lines() as $path => $words) {
        $stat = stat_now(staged_at($operation, $path));
        if (!$stat || stat_words($stat) !== $words) {
            // Where the name is gone, something that is carried over takes its place.
            $touched[$path] = (bool) $stat;
        }
    }
    if (!$touched) {
        return;
    }
    $operation->note('touched', 'changed while they were staged, and written from the generation after all: '
        . escape_path(implode(', ', array_slice(array_keys(array_filter($touched)), 0, 5))), 'info');
    $reader = new PackReader($generation->packs);
    foreach ($generation->manifest() as $entry) {
        if (!empty($touched[$entry->path])) {
            $staged = staged_at($operation, $entry->path);
            keeping_time(dirname($staged), function () use ($reader, $entry, $staged) {
                unlink($staged);
                stage_file($reader, $entry, $staged);
            });
            if (file_sha256($staged) !== $entry->sha256) {
                throw new Failure('damaged', 'what was staged does not read back: ' . escape_path($entry->path), 'look at the disk, then try again');
            }
        }
    }
    $new = new Linked($operation->folder . '/linked.part', 'wb');
    foreach (Linked::of($operation)->lines() as $path => $words) {
        if (!isset($touched[$path])) {
            $new->add($path, $words);
        }
    }
    $new->close();
    rename($operation->folder . '/linked.part', $operation->folder . '/linked');
}

/**
 * Before `$other` is undone: what it linked and the site changed since, in place, changed in the tree that was put aside
 * as well. There it comes back from the packs; what is still shared by both trees is the list of this operation, for a redo.
 */
function settle_linked(Operation $operation, Operation $other, Generation $generation, array $units)
{
    $reader = new PackReader($generation->packs);
    $list = Linked::of($other);
    $new = new Linked($operation->folder . '/linked', 'wb');
    $manifest = $generation->manifest();
    foreach ($list->lines() as $path => $words) {
        $aside = put_aside_at($operation, $generation, $path, $units);
        $stat = $aside === null ? null : stat_now($aside);
        if ($stat && stat_words($stat) === $words) {
            $new->add($path, $words);
            continue;
        }
        for (; $manifest->valid() && strcmp($manifest->current()->path, $path) < 0; $manifest->next()) {
        }
        if ($aside === null || !$manifest->valid() || $manifest->current()->path !== $path) {
            continue;
        }
        $entry = $manifest->current();
        if (has_attributes($stat, $entry) && Scan::has_content($aside, $entry->sha256)) {
            $new->add($path, stat_words($stat));
            continue;
        }
        write_over($reader, $entry, $aside);
    }
    $new->close();
}

/** Where a manifest's path lies in the tree that `$units` are about to bring back; null where they bring back none. */
function put_aside_at(Operation $operation, Generation $generation, $path, array $units)
{
    $live = live_at($operation->request, $generation, $path);
    foreach ($units as $unit) {
        if ($unit['stage'] !== null && Installation::below($live, $unit['live'])) {
            return $unit['stage'] . substr($live, strlen($unit['live']));
        }
    }
    return null;
}

/** The new file takes the name by a rename: the bytes that the other name shows are left alone. */
function write_over(PackReader $reader, Entry $entry, $path)
{
    keeping_time(dirname($path), function () use ($reader, $entry, $path) {
        $fresh = dirname($path) . '/.modoseru-' . random_hex(8);
        try {
            stage_file($reader, $entry, $fresh);
            move($fresh, $path);
        } finally {
            @unlink($fresh);
        }
    });
}
