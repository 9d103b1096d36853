"""People look at the slide: reading, reports, studies, how well readers agree (paper, section 5). Research use only."""
