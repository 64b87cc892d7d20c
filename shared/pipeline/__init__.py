"""The protocol: what is written, in which order, and what is left if the worker dies after each step.

A file has one *claim*, by its name. What is sent in one request is a *batch* with one record; the record's etag is the
*baton*: only the message that carries it may go on, and every new message changes it. A record says when its message
is *due*. The *sweep* sends a message to each file without claim and outcome, to each claim that is old and whose batch
has no record, and to each record that is overdue; so whatever is left is found.

    submit   GET input                               nothing: the sweep finds the file
             PUT claim, If-None-Match                a claim without a record: taken over once it is old, after the
                                                     old batch was voided (the fence), so its late worker cannot record
             HEAD outcome                            as before
             POST to the service                     as before; paid again: the one instant
             PUT record, If-None-Match               a record without a message: revived once it is overdue
             POST message                            all is well
    poll     GET job; while it runs:
             PUT record, If-Match the baton          the message that comes again finds the baton changed, and ends
             POST message                            all is well
             once the job has ended:
             HEAD input                              the message comes again
             PUT outcome, If-Match or If-None-Match  the message comes again and finds the outcome
             DELETE claim, If-Match                  the message comes again and finds the outcome
             DELETE record                           all is well

A step that may have ended a worker counts its tries, in the claim or the record, before it begins again; the third is
the last one, and is made for one file at a time.

A version that is replaced ends without an outcome and keeps its claim, which the newer version or the sweep takes over:
nothing else would say that it was paid. After a refused call a batch goes on later if its baton is still that of the
message; otherwise it is left to its worker or the sweep.

A claim of another version is taken over by the version that the input container holds; an outcome is written in place
of the one that was seen at the claim alone. A text that waits for the service has a record before it is posted, and its
baton is taken before it is: nobody pays twice for one message that came twice. A file of many jobs has a ledger beside
its record, whose entries are appended one by one, each at the place where the last one was seen to end.
"""
